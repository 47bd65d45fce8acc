package rpc_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ajobi-uhc/seer-go/internal/rpc"
)

var bodies = []string{
	`{}`,
	`{"a": {"$float": "nan"}, "b": {"$bytes": "aGk="}, "c": {"$tuple": [1, {"$set": []}]}}`,
	`{"a": {"$datetime": "2024-01-02T03:04:05.5+01:00"}, "b": {"$timedelta": [1, 2, 3]}, "c": {"$complex": [1, {"$float": "inf"}]}}`,
	`{"a": {"$dict": [[[1, 2], "x"], ["y", null]]}, "b": {"$ndarray": {"dtype": "<f4", "shape": [1], "data": "AACAPw=="}}}`,
	`{"a": {"$unknown": 1}, "b": {"$dict": [1]}, "c": {"$float": []}}`,
	`{"a": "\ud800", "b": 1e999, "c": -0.0}`,
	`[`,
}

// FuzzDecodeValue reads what a server may answer, into every kind of variable.
func FuzzDecodeValue(f *testing.F) {
	for _, body := range bodies {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var tree any
		if err := rpc.Value(data).Decode(&tree); err == nil {
			assert.True(t, json.Valid(data) || strings.Contains(string(data), `"$`))
		}
		for _, into := range []any{
			new(map[string]any), new([]any), new(string), new(float64), new(int), new(bool), new([]byte), new(time.Time),
			new(time.Duration), new(complex128), new(rpc.Array), new(map[string][]float32), new(*int), new(rpc.Value),
			new(struct {
				A time.Time
				B []byte
				C map[int]complex64
			}),
		} {
			_ = rpc.Value(data).Decode(into) // any error will do
		}
	})
}
