package seer

import (
	"bytes"
	"context"

	"github.com/ajobi-uhc/seer-go/internal/modelcache/loader"
)

// preloadModels puts the table of the models where the loading script finds
// it, and the script where an agent does, and returns the script, to run in a
// Python kernel; "" without models.
func (s *Sandbox) preloadModels(ctx context.Context) (code string, err error) {
	handles := s.ModelHandles()
	if len(handles) == 0 {
		return "", nil
	}
	models := make([]loader.Model, len(handles))
	for i, h := range handles {
		models[i] = loader.Model{Var: h.VarName, Path: h.Path, AsPEFT: h.LoadAsPEFT}
		if h.IsPEFT {
			models[i].Path, models[i].Adapter = h.BasePath, h.Path
		}
	}
	table, err := loader.Table(models)
	if err != nil {
		return "", err
	}
	remote, err := s.running()
	if err != nil {
		return "", err
	}
	for path, content := range map[string][]byte{loader.TablePath: table, loader.ScriptPath: []byte(loader.Script())} {
		if err := remote.WriteFile(ctx, path, bytes.NewReader(content), 0o600); err != nil {
			return "", s.callError("prepare loading of models", err)
		}
	}
	return loader.Script(), nil
}
