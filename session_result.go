package seer

import (
	"encoding/json"

	"github.com/ajobi-uhc/seer-go/internal/jupyter"
)

// Result is what a piece of code showed.
type Result struct {
	// Outputs are in the order in which they appeared. Adjacent text of one
	// stream is one output.
	Outputs []Output
	// Incomplete is set when outputs may be missing: the connection to a
	// notebook's kernel was cut while the cell ran, and what was under way then
	// is lost, or the kernel or its server left something out. What is there is
	// right.
	Incomplete bool
	// Omitted is how many bytes of output were left out of the middle, because
	// there was more than the session's OutputLimit. The text says where. 0 =
	// none.
	Omitted int64
}

// OutputType says what an [Output] is.
type OutputType string

// The kinds of outputs. The last two are only seen by callbacks that get
// outputs as they come: they change earlier outputs.
const (
	OutputStream  OutputType = "stream"
	OutputResult  OutputType = "execute_result"
	OutputDisplay OutputType = "display_data"
	OutputError   OutputType = "error"
	OutputUpdate  OutputType = "update_display_data"
	OutputClear   OutputType = "clear_output"
)

// Output is one thing that code showed. Which fields are set depends on Type.
type Output struct {
	Type OutputType

	Name string // OutputStream: "stdout" or "stderr"
	Text string // OutputStream

	Data      MIMEBundle      // OutputResult, OutputDisplay and OutputUpdate
	Metadata  json.RawMessage // of Data: nil or a JSON object
	DisplayID string          // name under which the display can be updated; "" = it cannot

	Err *KernelError // OutputError

	Wait bool // OutputClear: clear only when the next output comes
}

// MIMEBundle holds the forms of one value by MIME type: a JSON string, or any
// JSON for the types that are JSON themselves. Pictures are base64.
type MIMEBundle map[string]json.RawMessage

// Text returns the form of one MIME type as text, and whether there is one.
func (b MIMEBundle) Text(mime string) (string, bool) { return jupyter.MIMEBundle(b).Text(mime) }

// Image is a picture that code showed.
type Image struct {
	MIME string // such as "image/png"
	Data []byte // decoded
}

// Text returns the outputs as a person would read them in a terminal: what was
// printed, results and errors, without colours, progress bars in their last
// state.
func (r *Result) Text() string { return jupyter.OutputsText(r.jupyter()) }

// Images returns the pictures among the outputs; of one picture in several
// forms the bitmap.
func (r *Result) Images() []Image {
	var images []Image
	for _, image := range (&jupyter.Result{Outputs: r.jupyter()}).Images() {
		images = append(images, Image(image))
	}
	return images
}

// Err returns the exception that ended the code, as Exec does; nil if none did.
func (r *Result) Err() error {
	for i := len(r.Outputs) - 1; i >= 0; i-- {
		if o := r.Outputs[i]; o.Type == OutputError && o.Err != nil {
			return o.Err
		}
	}
	return nil
}

func (r *Result) jupyter() []jupyter.Output {
	list := make([]jupyter.Output, len(r.Outputs))
	for i, o := range r.Outputs {
		list[i] = jupyter.Output{
			Type: jupyter.OutputType(o.Type), Name: o.Name, Text: o.Text,
			Data: jupyter.MIMEBundle(o.Data), Metadata: o.Metadata, DisplayID: o.DisplayID, Wait: o.Wait,
		}
		if o.Err != nil {
			list[i].Err = &jupyter.KernelError{Name: o.Err.Name, Value: o.Err.Value}
			if o.Err.Traceback != "" {
				list[i].Err.Traceback = []string{o.Err.Traceback}
			}
		}
	}
	return list
}

// fromJupyter is an output of a notebook kernel as users see it.
func fromJupyter(o jupyter.Output) Output {
	out := Output{
		Type: OutputType(o.Type), Name: o.Name, Text: o.Text,
		Data: MIMEBundle(o.Data), Metadata: o.Metadata, DisplayID: o.DisplayID, Wait: o.Wait,
	}
	if o.Err != nil {
		out.Err = &KernelError{Name: o.Err.Name, Value: o.Err.Value}
		if len(o.Err.Traceback) > 0 {
			out.Err.Traceback = o.Err.Text()
		}
	}
	return out
}
