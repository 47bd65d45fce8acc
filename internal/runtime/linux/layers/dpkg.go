//go:build linux

package layers

import (
	"bufio"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// unchangedConfiguration lists the configuration files of installed packages
// that are as the package delivered them: nobody has put a secret there. A
// machine without a package database has none.
func unchangedConfiguration(status string) ([]string, error) {
	f, err := os.Open(status)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var unchanged []string
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for inside := false; lines.Scan(); {
		line := lines.Text()
		if !strings.HasPrefix(line, " ") {
			inside = line == "Conffiles:"
			continue
		}
		// " path sum", or with "obsolete" or "remove-on-upgrade" after it.
		fields := strings.Fields(line)
		if inside && len(fields) == 2 && hasSum(fields[0], fields[1]) {
			unchanged = append(unchanged, fields[0])
		}
	}
	return unchanged, lines.Err()
}

// hasSum compares a file with the package database, which holds MD5 sums.
func hasSum(path, sum string) bool {
	b, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	got := md5.Sum(b)
	return hex.EncodeToString(got[:]) == sum
}

// packagedPaths says which of the paths some package has delivered.
func packagedPaths(info string, paths []string) (map[string]bool, error) {
	lists, err := filepath.Glob(filepath.Join(info, "*.list"))
	if err != nil {
		return nil, err
	}
	wanted := make(map[string]bool, len(paths))
	for _, path := range paths {
		wanted[path] = true
	}
	packaged := map[string]bool{}
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(b)) {
			if path := strings.TrimSuffix(line, "\n"); wanted[path] {
				packaged[path] = true
			}
		}
	}
	return packaged, nil
}
