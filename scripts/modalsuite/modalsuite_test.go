//go:build linux

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCount(t *testing.T) {
	const passes = `{"Action":"run","Test":"TestA"}
{"Action":"run","Test":"TestA/part"}
{"Action":"output","Test":"TestA/part","Output":"said\n"}
{"Action":"pass","Test":"TestA/part"}
{"Action":"pass","Test":"TestA"}
`
	for name, test := range map[string]struct {
		events          string
		passed, skipped int
		failed          []string
		output          string
	}{
		"parts are not tests": {passes + `{"Action":"pass"}`, 1, 0, nil, ""},
		"skipped":             {passes + `{"Action":"run","Test":"TestB"}{"Action":"skip","Test":"TestB"}{"Action":"pass"}`, 1, 1, nil, ""},
		"failed":              {strings.ReplaceAll(passes, "pass", "fail") + `{"Action":"fail"}`, 0, 0, []string{"TestA"}, "said\n"},
		"leak at the end":     {passes + `{"Action":"output","Output":"leak\n"}{"Action":"fail"}`, 1, 0, []string{whole}, "leak\n0 tests did not end\n"},
		"crash":               {passes + `{"Action":"run","Test":"TestB"}{"Action":"fail"}`, 1, 0, []string{whole}, "1 tests did not end\n"},
		"cut off":             {passes, 1, 0, []string{whole}, "0 tests did not end\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := count(strings.NewReader(test.events))
			require.NoError(t, err)
			assert.Equal(t, test.passed, got.passed)
			assert.Equal(t, test.skipped, got.skipped)
			require.Equal(t, test.failed, got.failed)
			assert.Equal(t, len(test.failed) > 0, got.err() != nil)
			for _, name := range got.failed {
				assert.Equal(t, test.output, got.output[name])
			}
		})
	}
}

func TestWhatIsSkippedHasAReason(t *testing.T) {
	for _, s := range suites() {
		names, err := skipList(s.name)
		require.NoError(t, err)
		assert.IsIncreasing(t, names, s.name)
	}
}

func TestMergedDirectories(t *testing.T) {
	for name, want := range map[string]string{
		"./bin/busybox": "usr/bin/busybox", "./lib64": "lib64", "sbin/a/../b": "usr/sbin/b", "./": "", "usr/bin/env": "usr/bin/env", "../etc/x": "etc/x",
	} {
		assert.Equal(t, want, mergedPath(name), name)
	}
}
