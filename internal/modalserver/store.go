package modalserver

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// kind is a family of records in the store.
type kind string

const (
	kindApp      kind = "apps"       // by environment and name
	kindAppID    kind = "app-ids"    // by ID
	kindImage    kind = "images"     // by ID
	kindLayer    kind = "layers"     // the image that a layer's key led to
	kindSecret   kind = "secrets"    // by environment and name
	kindVolume   kind = "volumes"    // by environment and name
	kindVolumeID kind = "volume-ids" // by ID
	kindServer   kind = "server"     // the server's own
)

const storeDirectory fs.FileMode = 0o700

// errNoRecord is returned for a record that does not exist.
var errNoRecord = errors.New("no such record")

// store keeps small records by kind and key: a file each, so that servers that
// share a directory see each other's and none overwrites another's.
type store struct {
	dir string // "" = memory

	mu     sync.Mutex
	memory map[string][]byte // by path; used when dir is ""
}

func openStore(dir string) (*store, error) {
	if dir != "" {
		dir = filepath.Join(dir, "names")
		if err := os.MkdirAll(dir, storeDirectory); err != nil {
			return nil, fmt.Errorf("open state: %w", err)
		}
	}
	return &store{dir: dir, memory: map[string][]byte{}}, nil
}

// path hashes the key: it may hold anything, and file systems that ignore case exist.
func (s *store) path(k kind, key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(s.dir, string(k), hex.EncodeToString(sum[:]))
}

func (s *store) get(k kind, key string) ([]byte, error) { return s.read(s.path(k, key)) }

func (s *store) read(path string) ([]byte, error) {
	if s.dir == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		value, ok := s.memory[path]
		if !ok {
			return nil, errNoRecord
		}
		return bytes.Clone(value), nil
	}
	value, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoRecord
	}
	return value, err
}

// put writes a record, over an older one.
func (s *store) put(k kind, key string, value []byte) error {
	path := s.path(k, key)
	if s.dir == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.memory[path] = bytes.Clone(value)
		return nil
	}
	temp, err := writeTemp(path, value)
	if err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// getOrCreate returns the record, which it first makes with the given value if
// there is none. Whoever comes first decides, also between processes.
func getOrCreate(s *store, k kind, key string, value []byte) ([]byte, error) {
	path := s.path(k, key)
	if existing, err := s.read(path); !errors.Is(err, errNoRecord) {
		return existing, err
	}
	if s.dir == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		if existing, ok := s.memory[path]; ok {
			return bytes.Clone(existing), nil
		}
		s.memory[path] = bytes.Clone(value)
		return value, nil
	}
	temp, err := writeTemp(path, value)
	if err != nil {
		return nil, err
	}
	linkErr := os.Link(temp, path)
	if err := os.Remove(temp); err != nil {
		return nil, err
	}
	if linkErr != nil && !errors.Is(linkErr, fs.ErrExist) {
		return nil, linkErr
	}
	return s.read(path)
}

func writeTemp(path string, value []byte) (string, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, storeDirectory); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, "new-*") // 0600: named secrets are among the records
	if err != nil {
		return "", err
	}
	_, writeErr := f.Write(value)
	if err := errors.Join(writeErr, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// remove deletes a record; one that does not exist is fine.
func (s *store) remove(k kind, key string) error {
	path := s.path(k, key)
	if s.dir == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.memory, path)
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// list returns every record of a kind, in no order.
func (s *store) list(k kind) ([][]byte, error) {
	dir := filepath.Join(s.dir, string(k))
	var values [][]byte
	if s.dir == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		for path, value := range s.memory {
			if filepath.Dir(path) == dir {
				values = append(values, bytes.Clone(value))
			}
		}
		return values, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, entry := range entries {
		if len(entry.Name()) != hex.EncodedLen(sha256.Size) {
			continue // one that is being written
		}
		value, err := s.read(filepath.Join(dir, entry.Name()))
		if errors.Is(err, errNoRecord) {
			continue
		}
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}
