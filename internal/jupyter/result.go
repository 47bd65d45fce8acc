package jupyter

import (
	"regexp"
	"strings"
)

// Status says how a cell ended.
type Status string

// The ways in which a cell ends.
const (
	StatusOK    Status = "ok"
	StatusError Status = "error" // an exception ended it
	// StatusUnknown is that of a cell whose end was not seen.
	StatusUnknown Status = "unknown"
)

// Result is what a cell showed, and how it ended.
type Result struct {
	// Outputs are in the order in which they appeared, after clear_output and
	// updates of displays.
	Outputs        []Output
	ExecutionCount int // the number in In[...]; zero if the kernel gave none
	Status         Status
	// Incomplete is set when outputs may be missing: the connection was cut
	// while the cell ran, and although the server keeps what a kernel says
	// while nobody listens, what was under way then is lost; or the
	// kernel said more than its server could fetch, about a thousand messages
	// at once; or the server dropped some because its rate limit was reached.
	Incomplete bool
	// Omitted is how many bytes of outputs were left out because there were
	// more than are kept. An output says where.
	Omitted int64
}

// Text returns the outputs as a person would read them in a terminal: no
// colours, progress bars in their last state, results and errors after what
// was printed before them.
func (r *Result) Text() string { return OutputsText(r.Outputs) }

// Images returns the pictures among the outputs.
func (r *Result) Images() []Image {
	var images []Image
	for _, o := range r.Outputs {
		if image, ok := o.Data.image(); ok {
			images = append(images, image)
		}
	}
	return images
}

// Err returns the exception that ended the cell, or nil.
func (r *Result) Err() *KernelError {
	for i := len(r.Outputs) - 1; i >= 0; i-- {
		if r.Outputs[i].Type == OutputError {
			return r.Outputs[i].Err
		}
	}
	return nil
}

// OutputsText is [Result.Text] for any list of outputs.
func OutputsText(list []Output) string {
	var all, printed strings.Builder
	separate := func() {
		if n := all.Len(); n > 0 && all.String()[n-1] != '\n' {
			all.WriteByte('\n')
		}
	}
	// Both streams share one screen, as they would in a terminal.
	flush := func() {
		if printed.Len() > 0 {
			separate()
			all.WriteString(renderTerminal(printed.String()))
			printed.Reset()
		}
	}
	for _, o := range list {
		if o.Type == OutputStream {
			printed.WriteString(o.Text)
			continue
		}
		flush()
		if text := o.text(); text != "" {
			separate()
			all.WriteString(text)
		}
	}
	flush()
	return all.String()
}

// nameless matches what Python prints of an object that has nothing to say.
var nameless = regexp.MustCompile(`^<[\w.]+(\.<locals>[\w.]*)? (object|at 0x)[^\n]*>$`)

// text is the readable form of an output that is no stream. Something that has
// none is named by its type.
func (o *Output) text() string {
	if o.Type == OutputError {
		return o.Err.Text()
	}
	plain, ok := o.Data.Text("text/plain")
	if ok && !nameless.MatchString(plain) {
		return renderTerminal(plain)
	}
	// The object has no text of its own, or only its type's name: what it is
	// shows in another form.
	for _, mime := range []string{"text/markdown", "text/latex", "application/json", "text/html", "application/javascript"} {
		text, there := o.Data.Text(mime)
		if there && mime == "text/html" {
			text = htmlText(text)
		}
		if there && text != "" {
			return renderTerminal(text)
		}
	}
	if ok {
		return renderTerminal(plain)
	}
	if types := o.Data.Types(); len(types) > 0 {
		return "<" + types[0] + ">"
	}
	return ""
}
