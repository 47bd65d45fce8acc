//go:build linux

package layers

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestTheHostChangesMeanwhile has files and directories come and go while they
// are looked at, as those of a package manager do.
func TestTheHostChangesMeanwhile(t *testing.T) {
	host := &host{privileged: os.Geteuid() == 0}
	for _, test := range []struct {
		name  string
		mode  os.FileMode // of what comes and goes
		times int
		look  func(ctx context.Context, from, to string) error
	}{
		{"hidden", 0o700, 10, func(ctx context.Context, from, to string) error {
			b := &baseBuilder{host: host, dir: to, stamps: map[string]int64{}}
			return b.cover(ctx, from[1:])
		}},
		{"copied", 0o755, 200, func(ctx context.Context, from, to string) error {
			c := &publicCopier{from: from, to: to, skip: func(string) bool { return false }}
			return c.copy(ctx, ".")
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			from := t.TempDir()
			require.NoError(t, os.Chmod(filepath.Dir(from), 0o755))
			ctx, cancel := context.WithCancel(t.Context())
			var busy sync.WaitGroup
			for i := range 3 {
				busy.Go(func() {
					for n := 0; ctx.Err() == nil; n++ {
						path := filepath.Join(from, strconv.Itoa(i)+"-"+strconv.Itoa(n%50))
						assert.NoError(t, os.Mkdir(path, test.mode))
						assert.NoError(t, os.WriteFile(path+".file", []byte("secret"), test.mode))
						assert.NoError(t, os.Symlink("elsewhere", path+".link"))
						for _, p := range []string{path, path + ".file", path + ".link"} {
							assert.NoError(t, os.Remove(p))
						}
					}
				})
			}
			for range test.times {
				assert.NoError(t, test.look(ctx, from, t.TempDir()))
			}
			cancel()
			busy.Wait()
		})
	}
}
