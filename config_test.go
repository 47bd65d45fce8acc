package seer

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func hidePath(text, path string) string { return strings.ReplaceAll(text, path, "FILE") }

func TestCloneSharesNothing(t *testing.T) {
	config := fullConfig()
	config.Models[0].Include = []string{"*"}
	copied := config.clone()
	assert.Equal(t, config, copied)
	assertNothingShared(t, "config", reflect.ValueOf(config), reflect.ValueOf(copied))
}

func assertNothingShared(t *testing.T, path string, a, b reflect.Value) {
	t.Helper()
	switch a.Kind() {
	case reflect.Map:
		assert.NotEqual(t, a.UnsafePointer(), b.UnsafePointer(), path)
	case reflect.Slice:
		if a.Len() > 0 {
			assert.NotEqual(t, a.UnsafePointer(), b.UnsafePointer(), path)
		}
		for i := range a.Len() {
			assertNothingShared(t, at(path, i), a.Index(i), b.Index(i))
		}
	case reflect.Struct:
		for i := range a.NumField() {
			assertNothingShared(t, path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
		}
	}
}

func TestDefaults(t *testing.T) {
	full := SandboxConfig{}.withDefaults()
	assert.Equal(t, SandboxConfig{
		PythonVersion: "3.11", Timeout: time.Hour, WaitTimeout: 5 * time.Minute, RPCTimeout: 10 * time.Minute,
		JupyterPort: 8888, RPCPort: 8080, DebugPort: 8443,
	}, full)
	assert.Equal(t, 1, SandboxConfig{GPU: "T4"}.withDefaults().GPUCount)
	assert.Equal(t, 10*time.Minute, SandboxConfig{MaxLifetime: 10 * time.Minute}.withDefaults().Timeout)
	assert.Equal(t, 5*time.Minute, SandboxConfig{Timeout: 5 * time.Minute, MaxLifetime: 10 * time.Minute}.withDefaults().Timeout)
}
