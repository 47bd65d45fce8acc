package jupyter

import "strings"

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

// text is the readable form of an output that is no stream. Something that has
// none is named by its type.
func (o *Output) text() string {
	if o.Type == OutputError {
		return o.Err.Text()
	}
	for _, mime := range []string{"text/plain", "text/markdown", "text/latex", "text/html"} {
		if text, ok := o.Data.Text(mime); ok {
			return renderTerminal(text)
		}
	}
	if types := o.Data.Types(); len(types) > 0 {
		return "<" + types[0] + ">"
	}
	return ""
}
