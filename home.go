package seer

import (
	"fmt"
	"os"
	"path/filepath"
)

// userHome is where this user's machine keeps what it knows: $SEER_HOME, or
// the user's cache directory.
func userHome() (string, error) {
	if home := os.Getenv("SEER_HOME"); home != "" {
		return home, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a directory: %w; set SEER_HOME", err)
	}
	return filepath.Join(cache, "seer"), nil
}
