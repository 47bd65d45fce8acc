package jupyter

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// OutputType says what an [Output] is.
type OutputType string

// The kinds of outputs. The last two are only seen by [ExecuteOptions.OnOutput]
// and [ExecuteOptions.OnLate]: they change other outputs.
const (
	OutputStream        OutputType = "stream"
	OutputResult        OutputType = "execute_result"
	OutputDisplay       OutputType = "display_data"
	OutputError         OutputType = "error"
	OutputUpdateDisplay OutputType = "update_display_data"
	OutputClear         OutputType = "clear_output"
)

// Names of the streams of an [OutputStream].
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// Output is one thing that a cell showed. Which fields are set depends on Type.
type Output struct {
	Type OutputType

	Name string // OutputStream: Stdout or Stderr
	Text string // OutputStream

	// Data and Metadata belong to OutputResult, OutputDisplay and
	// OutputUpdateDisplay.
	Data     MIMEBundle
	Metadata json.RawMessage // nil or a JSON object
	// DisplayID is the name under which the display can be updated later; ""
	// if it cannot.
	DisplayID      string
	ExecutionCount int // OutputResult

	Err *KernelError // OutputError

	Wait bool // OutputClear: clear only when the next output comes

	// Omitted is set where Text only says that so many bytes are missing here.
	Omitted int64
}

// MIMEBundle holds the forms of one value by MIME type. A value is a JSON
// string, or any JSON for the types that are JSON themselves.
type MIMEBundle map[string]json.RawMessage

// Text returns the form of this MIME type as text, and whether there is one.
// Binary types are base64, as the kernel sent them.
func (b MIMEBundle) Text(mime string) (string, bool) {
	raw, ok := b[mime]
	if !ok {
		return "", false
	}
	text, err := joinText(raw)
	if err != nil {
		return string(raw), true
	}
	return text, true
}

// Types returns the MIME types in alphabetical order.
func (b MIMEBundle) Types() []string {
	types := make([]string, 0, len(b))
	for mime := range b {
		types = append(types, mime)
	}
	slices.Sort(types)
	return types
}

// Image is a picture that a cell showed.
type Image struct {
	MIME string // such as "image/png"
	Data []byte // decoded
}

// images returns the pictures of one bundle; forms of the same picture count
// as one, the bitmap before the drawing.
func (b MIMEBundle) image() (Image, bool) {
	for _, mime := range []string{"image/png", "image/jpeg", "image/webp", "image/gif", "image/svg+xml"} {
		text, ok := b.Text(mime)
		if !ok {
			continue
		}
		if mime == "image/svg+xml" {
			return Image{MIME: mime, Data: []byte(text)}, true
		}
		data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		if err == nil {
			return Image{MIME: mime, Data: data}, true
		}
	}
	return Image{}, false
}

// joinText decodes a multi-line string of the notebook format: a string or a
// list of strings.
func joinText(raw json.RawMessage) (string, error) {
	if len(raw) == 0 {
		return "", nil
	}
	var text string
	if raw[0] == '"' {
		err := json.Unmarshal(raw, &text)
		return text, err
	}
	var lines []string
	if err := json.Unmarshal(raw, &lines); err != nil {
		return "", err
	}
	return strings.Join(lines, ""), nil
}

// multiline is such a string. It is decoded where it lies, as it may be long.
type multiline string

func (m *multiline) UnmarshalJSON(raw []byte) error {
	text, err := joinText(raw)
	*m = multiline(text)
	return err
}

// outputContent is the content of every message that is an output.
type outputContent struct {
	Name           string          `json:"name"`
	Text           multiline       `json:"text"`
	Data           MIMEBundle      `json:"data"`
	Metadata       json.RawMessage `json:"metadata"`
	ExecutionCount *int            `json:"execution_count"`
	Ename          string          `json:"ename"`
	Evalue         string          `json:"evalue"`
	Traceback      []string        `json:"traceback"`
	Wait           bool            `json:"wait"`
	Transient      struct {
		DisplayID string `json:"display_id"`
	} `json:"transient"`
}

// maxForms bounds how many forms one value has.
const maxForms = 1000

var errNotOutput = errors.New("not an output")

// decodeOutput decodes the content of a message of this type.
func decodeOutput(kind string, content json.RawMessage) (Output, error) {
	o := Output{Type: OutputType(kind)}
	switch o.Type {
	case OutputStream, OutputResult, OutputDisplay, OutputError, OutputUpdateDisplay, OutputClear:
	default:
		return Output{}, errNotOutput
	}
	var c outputContent
	if err := json.Unmarshal(content, &c); err != nil {
		return Output{}, fmt.Errorf("decode %s: %w", kind, err)
	}
	if len(c.Data) > maxForms {
		return Output{}, fmt.Errorf("decode %s: %d forms of one value", kind, len(c.Data))
	}
	switch o.Type {
	case OutputStream:
		o.Name, o.Text = c.Name, string(c.Text)
	case OutputError:
		o.Err = &KernelError{Name: c.Ename, Value: c.Evalue}
		if len(c.Traceback) > 0 {
			o.Err.Traceback = c.Traceback
		}
	case OutputClear:
		o.Wait = c.Wait
	default:
		o.Data, o.Metadata, o.DisplayID = c.Data, c.Metadata, c.Transient.DisplayID
		if c.ExecutionCount != nil {
			o.ExecutionCount = *c.ExecutionCount
		}
	}
	return o, nil
}
