package mcpserver_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
	"strings"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/ajobi-uhc/seer-go/internal/mcpserver"
)

// picture is a PNG of so many pixels.
func picture(width, height int) []byte {
	var out bytes.Buffer
	if err := png.Encode(&out, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		panic(err) // a buffer takes everything
	}
	return out.Bytes()
}

// claimed is a small PNG that says it has so many pixels.
func claimed(width, height uint32) []byte {
	data := picture(1, 1)
	binary.BigEndian.PutUint32(data[16:], width)
	binary.BigEndian.PutUint32(data[20:], height)
	binary.BigEndian.PutUint32(data[29:], crc32.ChecksumIEEE(data[12:29]))
	return data
}

// gallery shows what it was made with.
type gallery struct{ mcpserver.Outcome }

func (g gallery) RunPython(context.Context, string, func(string)) (mcpserver.Outcome, error) {
	return g.Outcome, nil
}
func (gallery) Interrupt(context.Context) error { return nil }
func (gallery) Restart(context.Context) error   { return nil }

// What a client gets of images is what clients take; about the rest there is a line.
func TestImagesFitTheirClients(t *testing.T) {
	small := picture(10, 10)
	var many []mcpserver.Image
	for range 60 {
		many = append(many, mcpserver.Image{MIME: "image/png", Data: small})
	}
	pngs := func(data ...[]byte) (images []mcpserver.Image) {
		for _, one := range data {
			images = append(images, mcpserver.Image{MIME: "image/png", Data: one})
		}
		return images
	}
	for name, test := range map[string]struct {
		images []mcpserver.Image
		kept   int
		says   string
	}{
		"small":       {pngs(small), 1, ""},
		"wide":        {pngs(picture(10_000, 50)), 1, "[image 1 scaled from 10000 x 50 to 2000 x 10 pixels]"},
		"line":        {pngs(picture(10_000, 1)), 1, "[image 1 scaled from 10000 x 1 to 2000 x 1 pixels]"},
		"huge":        {pngs(claimed(10_000, 10_000), small), 1, "[image 1 left out: it has 10000 x 10000 pixels and"},
		"immense":     {pngs(claimed(1<<20, 1<<20)), 0, "[image 1 left out: it has 1048576 x 1048576 pixels and"},
		"empty":       {pngs(nil, small), 1, "[image 1 left out: it is empty]"},
		"cut":         {pngs(picture(3000, 3000)[:60], small), 1, "[image 1 left out: it is damaged:"},
		"no image":    {pngs([]byte("<html>")), 0, "[image 1 left out: it is no PNG, JPEG, GIF or WebP but text/html"},
		"many":        {many, 20, "[40 more images left out: a result has at most 20]"},
		"webp":        {[]mcpserver.Image{{MIME: "image/webp", Data: []byte("RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00\x0f\x27\x00\x0f\x27\x00")}}, 0, "[image 1 left out: it has 10000 x 10000 pixels and 30 bytes]"},
		"mislabelled": {[]mcpserver.Image{{MIME: "image/jpeg", Data: small}}, 1, ""},
	} {
		session := connect(t, mcpserver.Tools{Python: gallery{mcpserver.Outcome{Text: "shown", Images: test.images}}}, nil)
		result, err := session.CallTool(within(t), &mcp.CallToolParams{Name: "run_python", Arguments: map[string]any{"code": "x"}})
		require.NoError(t, err, name)
		text, ok := result.Content[0].(*mcp.TextContent)
		require.True(t, ok, name)
		if test.says == "" {
			assert.Equal(t, "shown", text.Text, name)
		}
		assert.Contains(t, text.Text, "shown", name)
		assert.Contains(t, text.Text, test.says, name)
		require.Len(t, result.Content, 1+test.kept, name)
		for _, content := range result.Content[1:] {
			shown, ok := content.(*mcp.ImageContent)
			require.True(t, ok, name)
			config, kind, err := image.DecodeConfig(bytes.NewReader(shown.Data))
			require.NoError(t, err, name)
			assert.Equal(t, "image/"+kind, shown.MIMEType, name)
			assert.LessOrEqual(t, max(config.Width, config.Height), 2000, name)
		}
	}
}

func TestAnswersWithoutAWord(t *testing.T) {
	for _, text := range []string{"", " \n\t", "\u00a0"} {
		session := connect(t, mcpserver.Tools{Python: gallery{mcpserver.Outcome{Text: text}}}, nil)
		shown, failed := call(t, session, "run_python", map[string]any{"code": "x"})
		assert.Equal(t, "(no output)", shown)
		assert.False(t, failed)
	}
	session := connect(t, mcpserver.Tools{Functions: echoes{{Name: "blank"}, {Name: "blanks"}}}, nil)
	shown, _ := call(t, session, "blank", nil)
	assert.Equal(t, "(no output)", shown)
	shown, _ = call(t, session, "blanks", nil)
	assert.Equal(t, `" \n"`, shown)
}

func TestTextIsCutInTheMiddle(t *testing.T) {
	long := "begin" + strings.Repeat("x", 200_000) + "end"
	session := connect(t, mcpserver.Tools{Python: gallery{mcpserver.Outcome{Text: long}}}, nil)
	shown, _ := call(t, session, "run_python", map[string]any{"code": "x"})
	assert.Less(t, len(shown), 101_000)
	assert.True(t, strings.HasPrefix(shown, "begin") && strings.HasSuffix(shown, "end"))
	assert.Contains(t, shown, "[... 100008 bytes left out ...]")
}
