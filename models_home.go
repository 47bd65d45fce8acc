package seer

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ajobi-uhc/seer-go/internal/modelcache"
)

// modelNotes are what this machine knows about cached models, beside what
// their volumes tell.
func modelNotes(backend string) (secret []byte, uses *modelcache.UseLog, aliases *modelcache.AliasLog, err error) {
	home, err := userHome()
	if err != nil {
		return nil, nil, nil, err
	}
	dir := filepath.Join(home, "models")
	if secret, err = namingSecret(filepath.Join(dir, "secret")); err != nil {
		return nil, nil, nil, err
	}
	uses = &modelcache.UseLog{Dir: filepath.Join(dir, "used", backend)}
	return secret, uses, &modelcache.AliasLog{Dir: filepath.Join(dir, "renamed")}, nil
}

// namingSecret is what the names of hidden models' volumes are made with. The
// first program makes it; with another secret their cache is not found again.
func namingSecret(path string) ([]byte, error) {
	secret, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "secret-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // a temporary file
	_, err = file.WriteString(rand.Text() + rand.Text())
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	// Linked, not renamed: of programs that start at once, the first one wins.
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(path)
}
