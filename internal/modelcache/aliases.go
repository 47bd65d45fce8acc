package modelcache

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// AliasLog remembers on this machine which repository the hub meant by a name:
// a repository that was renamed answers to its old names too, and its volumes
// go by the present one. It is a directory with a file for each old name.
type AliasLog struct{ Dir string }

// Repository is the present name of a repository, as far as it is known.
func (l *AliasLog) Repository(id string) string {
	if l == nil {
		return id
	}
	name, err := os.ReadFile(l.file(id))
	if err != nil || !hubID.Match(name) {
		return id
	}
	return string(name)
}

// learn records what the hub calls a repository.
func (l *AliasLog) learn(id, repository string) error {
	if l == nil || l.Repository(id) == repository {
		return nil
	}
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return fmt.Errorf("record name of repository: %w", err)
	}
	f, err := os.CreateTemp(l.Dir, ".new-")
	if err != nil {
		return fmt.Errorf("record name of repository: %w", err)
	}
	_, err = f.WriteString(repository)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), l.file(id))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("record name of repository: %w", err), os.Remove(f.Name()))
	}
	return nil
}

func (l *AliasLog) file(id string) string {
	slug, _ := slugify(id)
	return filepath.Join(l.Dir, strings.Trim(slug[:min(maxName, len(slug))], "-._")+"-"+digest(id))
}
