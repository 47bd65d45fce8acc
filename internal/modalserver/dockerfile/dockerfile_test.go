package dockerfile_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/modalserver/dockerfile"
)

func TestParse(t *testing.T) {
	got, err := dockerfile.Parse(`
# a comment
FROM base
run pip install \
    # in between
    numpy && \
    echo "a  b"
COPY --from=alpine:latest /a /b
CMD ["python", "-c", "print(1)"]
RUN [ -d /tmp ]
`)
	require.NoError(t, err)
	assert.Equal(t, []dockerfile.Instruction{
		{Name: "FROM", Args: "base"},
		{Name: "RUN", Args: `pip install     numpy &&     echo "a  b"`},
		{Name: "COPY", Flags: map[string]string{"from": "alpine:latest"}, Args: "/a /b"},
		{Name: "CMD", Args: `["python", "-c", "print(1)"]`, Exec: []string{"python", "-c", "print(1)"}},
		{Name: "RUN", Args: "[ -d /tmp ]"},
	}, got)
	assert.Equal(t, "COPY --from=alpine:latest /a /b", got[2].String())
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"RUN":               "RUN: has no arguments",
		"RUN --mount ls":    "RUN: option --mount has no value",
		"FROM a\nWORKDIR  ": "WORKDIR: has no arguments",
	} {
		_, err := dockerfile.Parse(text)
		require.EqualError(t, err, want)
	}
}

func TestPairs(t *testing.T) {
	for text, want := range map[string][]dockerfile.Pair{
		`A=1 B="two words" C='$X'`: {{Name: "A", Value: "1"}, {Name: "B", Value: "two words"}, {Name: "C", Value: "$X"}},
		`A the rest  of it`:        {{Name: "A", Value: "the rest  of it"}},
		`A=b\ c D=e\$f`:            {{Name: "A", Value: "b c"}, {Name: "D", Value: `e\$f`}},
		`A=`:                       {{Name: "A"}},
	} {
		got, err := dockerfile.Pairs(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for _, text := range []string{`A`, `A=1 B`, `A="open`, `=x`} {
		_, err := dockerfile.Pairs(text)
		require.Error(t, err, text)
	}
}

func TestExpand(t *testing.T) {
	values := map[string]string{"A": "1", "EMPTY": ""}
	for text, want := range map[string]string{
		"$A ${A} $B":             "1 1 ",
		"${A:-x} ${EMPTY:-x}":    "1 x",
		"${A:+x}${EMPTY:+x}":     "x",
		`\$A and \${A}`:          "$A and ${A}",
		"/opt/${A}/bin:$EMPTY:/": "/opt/1/bin::/",
	} {
		assert.Equal(t, want, dockerfile.Expand(text, func(name string) string { return values[name] }), text)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("FROM a\nRUN b \\\n c\nENV A=1 'B C'=2")
	f.Add("COPY --from=x [\"a\", \"b\"]")
	f.Fuzz(func(t *testing.T, text string) {
		instructions, err := dockerfile.Parse(text)
		if err != nil {
			return
		}
		for _, i := range instructions {
			assert.NotEmpty(t, i.Name)
			assert.NotEmpty(t, i.Args)
			_, _ = dockerfile.Pairs(i.Args)
			_ = dockerfile.Expand(i.Args, func(string) string { return "" })
		}
	})
}
