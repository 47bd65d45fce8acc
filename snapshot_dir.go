package seer

import (
	"context"
	"errors"
	"fmt"
	"path"
)

// SnapshotDir saves one directory of the sandbox as it is now; path is
// absolute. [Sandbox.RestoreDir] shows it again, in this or another sandbox of
// the same backend. The sandbox runs on.
func (s *Sandbox) SnapshotDir(ctx context.Context, dir, description string) (*Snapshot, error) {
	if !path.IsAbs(dir) {
		return nil, fmt.Errorf("snapshot directory %q: it is not an absolute path", dir)
	}
	remote, err := s.running()
	if err != nil {
		return nil, err
	}
	imageID, err := remote.SnapshotDir(ctx, dir)
	if err != nil {
		return nil, s.callError("snapshot directory "+dir, err)
	}
	snapshot := s.describeSnapshot(imageID, description)
	snapshot.Dir = path.Clean(dir)
	return snapshot, nil
}

// RestoreDir shows a directory that [Sandbox.SnapshotDir] saved at an absolute
// path of this sandbox, over what is there. What is written to it later stays
// in this sandbox; [Sandbox.Snapshot] leaves it out, as it does volumes.
func (s *Sandbox) RestoreDir(ctx context.Context, snapshot *Snapshot, dir string) error {
	switch {
	case snapshot == nil || snapshot.ImageID == "":
		return errors.New("restore directory: the snapshot has no image ID")
	case snapshot.Dir == "":
		return fmt.Errorf("restore directory: snapshot %s is of a whole sandbox: use FromSnapshot", snapshot.ImageID)
	case !path.IsAbs(dir):
		return fmt.Errorf("restore directory %q: it is not an absolute path", dir)
	}
	remote, err := s.running()
	if err != nil {
		return err
	}
	if err := snapshot.checkBackend(s.backend.name); err != nil {
		return err
	}
	return s.callError("restore directory "+dir, remote.MountDir(ctx, dir, snapshot.ImageID))
}

// SnapshotAndTerminate saves the sandbox and ends it. A failed snapshot still
// ends it, and a failed end still returns the snapshot: the error joins what
// went wrong.
func (s *Sandbox) SnapshotAndTerminate(ctx context.Context, description string) (*Snapshot, error) {
	snapshot, err := s.Snapshot(ctx, description)
	return snapshot, errors.Join(err, s.Terminate(ctx))
}
