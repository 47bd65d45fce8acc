package loader_test

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/ajobi-uhc/seer-go/internal/modelcache/loader"
)

var update = flag.Bool("update", false, "rewrite testdata/tables.txtar")

func TestTables(t *testing.T) {
	const golden = "testdata/tables.txtar"
	cases := []struct {
		name   string
		models []loader.Model
	}{
		{"plain", []loader.Model{{Path: "/models/google--gemma-2-9b"}}},
		{"adapter", []loader.Model{{Path: "/models/base", Adapter: "/models/adapter"}}},
		{"load as PEFT", []loader.Model{{Path: "/models/base", AsPEFT: true}}},
		{"hidden", []loader.Model{{Path: "/models/0123456789abcdef0123456789abcdef"}}},
		{"several, sharing a base", []loader.Model{
			{Var: "baseline", Path: "/models/base"},
			{Var: "tuned_a", Path: "/models/base", Adapter: "/models/a"},
			{Var: "tuned_b", Path: "/models/base", Adapter: "/models/b"},
		}},
		{"hostile path", []loader.Model{{Path: "/models/\"); import os #\n\u2028"}}},
		{"none", nil},
	}
	archive := &txtar.Archive{Comment: []byte("The tables that the loading script reads. Rewrite with -update.\n")}
	for _, c := range cases {
		table, err := loader.Table(c.models)
		require.NoError(t, err, c.name)
		archive.Files = append(archive.Files, txtar.File{Name: c.name, Data: table})
	}
	if *update {
		require.NoError(t, os.WriteFile(golden, txtar.Format(archive), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(txtar.Format(archive)))
}

func TestTableRefuses(t *testing.T) {
	for _, models := range [][]loader.Model{
		{{Var: "my model"}}, {{Var: "1st"}}, {{Var: "class"}}, {{Var: "a;b"}}, {{Var: "é"}},
		{{}, {}}, {{Var: "a"}, {Var: "a"}}, {{}, {Var: "tokenizer"}}, {{Var: "a"}, {Var: "a_tokenizer"}},
	} {
		_, err := loader.Table(models)
		require.Error(t, err, "%+v", models)
	}
}
