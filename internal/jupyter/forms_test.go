package jupyter

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestRichestText is a table of what values show of themselves, by their MIME forms.
func TestRichestText(t *testing.T) {
	const frame = `<style>.a{color:red}</style><table><thead><tr><th></th><th>a &amp; b</th></tr></thead><tbody><tr><td>0</td><td>1 &lt; 2</td></tr></tbody></table>`
	for name, c := range map[string]struct {
		forms map[string]any
		want  string
	}{
		"plain":        {map[string]any{"text/plain": "42"}, "42"},
		"data frame":   {map[string]any{"text/plain": "   a\n0  1", "text/html": frame}, "   a\n0  1"},
		"formula":      {map[string]any{"text/plain": "x**2", "text/latex": "$x^2$"}, "x**2"},
		"Markdown":     {map[string]any{"text/plain": "<IPython.core.display.Markdown object>", "text/markdown": "# Title"}, "# Title"},
		"HTML":         {map[string]any{"text/plain": "<IPython.core.display.HTML object>", "text/html": "<p>one</p><p>two<br>three</p>"}, "one\ntwo\nthree"},
		"Latex":        {map[string]any{"text/plain": "<IPython.core.display.Latex object>", "text/latex": "$x$"}, "$x$"},
		"JSON":         {map[string]any{"text/plain": "<IPython.core.display.JSON object>", "application/json": map[string]any{"a": []int{1}}}, `{"a":[1]}`},
		"df.style":     {map[string]any{"text/plain": "<pandas.io.formats.style.Styler at 0x7f00>", "text/html": frame}, "\ta & b\n0\t1 < 2"},
		"SVG":          {map[string]any{"text/plain": "<IPython.core.display.SVG object>", "image/svg+xml": "<svg/>"}, "<IPython.core.display.SVG object>"},
		"figure":       {map[string]any{"text/plain": "<Figure size 640x480 with 1 Axes>", "image/png": "aGk="}, "<Figure size 640x480 with 1 Axes>"},
		"own object":   {map[string]any{"text/plain": "<__main__.A object at 0x7f>"}, "<__main__.A object at 0x7f>"},
		"a tag itself": {map[string]any{"text/plain": "<b at 0>", "text/html": "<i>x</i>"}, "<b at 0>"},
		"only HTML":    {map[string]any{"text/html": "<b>x</b> y"}, "x y"},
		"Javascript":   {map[string]any{"text/plain": "<IPython.core.display.Javascript object>", "application/javascript": "alert(1)"}, "alert(1)"},
		"empty HTML":   {map[string]any{"text/plain": "<IPython.core.display.HTML object>", "text/html": "<script>x</script>"}, "<IPython.core.display.HTML object>"},
	} {
		data := MIMEBundle{}
		for mime, form := range c.forms {
			data[mime], _ = json.Marshal(form)
		}
		assert.Equal(t, c.want, OutputsText([]Output{{Type: OutputDisplay, Data: data}}), name)
	}
}

// TestLongText cuts the text of a stream at every place.
func TestLongText(t *testing.T) {
	text := "é\"\\\n\U0001f600\t" + strings.Repeat("x", 40) + "\\\"é\n\U0001f600"
	for _, content := range []any{
		map[string]string{"name": "stderr", "text": text},
		json.RawMessage(`{"name": "stderr", "text": "` + strings.Repeat(`\ud83d\ude00\n`, 9) + `"}`),
	} {
		raw, _ := json.Marshal(content)
		if given, ok := content.(json.RawMessage); ok {
			raw = given
			_ = json.Unmarshal([]byte(`"`+strings.Repeat(`\ud83d\ude00\n`, 9)+`"`), &text)
		}
		for at := strings.Index(string(raw), `"text"`) + 12; at < len(raw)-4; at++ {
			name, head, tail, found := longText(raw[:at], raw[at:])
			assert.True(t, found)
			assert.Equal(t, Stderr, name)
			assert.True(t, strings.HasPrefix(text, strings.TrimRight(head, "\ufffd")), "%q", head)
			assert.True(t, strings.HasSuffix(text, tail[min(len(tail), 12):]), "%q", tail)
		}
	}
	_, _, _, found := longText([]byte(`{"data": {}`), []byte(`"}`))
	assert.False(t, found)
}
