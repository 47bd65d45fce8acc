package jupyter

import (
	"encoding/json"
	"errors"
)

// handle applies one message of the kernel to the cell.
func (x *execution) handle(m *message) {
	if m.cut > 0 {
		x.handleCut(m)
		return
	}
	switch m.header.Type {
	case "status":
		x.handleStatus(statusOf(m))
	case "execute_input":
		x.handleInput(m)
	case "execute_reply":
		x.handleReply(m)
	default:
		x.handleOutput(m)
	}
}

// handleCut handles a message whose content was too large to be read.
func (x *execution) handleCut(m *message) {
	switch {
	case m.header.Type == "execute_reply":
		x.replied, x.status = true, StatusError
		x.exception = &KernelError{Name: "Exception", Value: "its text was too long to be read"}
	case m.header.Type == string(OutputStream):
		name, head, tail, found := longText(m.content, m.end)
		if !found {
			x.show(Omission(m.cut))
			return
		}
		x.show(Output{Type: OutputStream, Name: name, Text: head})
		x.show(Omission(max(1, m.cut-int64(len(head)+len(tail)))))
		x.show(Output{Type: OutputStream, Name: name, Text: tail})
	case m.isOutput():
		x.show(Omission(m.cut))
	}
}

func (x *execution) handleStatus(state string) {
	switch state {
	case "busy":
		// Only execute_input tells that the cell itself has begun, but silent
		// cells have none.
		if x.opts.Silent {
			x.begun()
		}
	case "idle":
		x.idle = true
	}
}

func (x *execution) handleInput(m *message) {
	var content struct {
		Count int `json:"execution_count"`
	}
	if json.Unmarshal(m.content, &content) == nil {
		x.count = content.Count
	}
	x.begun()
}

func (x *execution) handleReply(m *message) {
	var reply struct {
		Status    string    `json:"status"`
		Count     int       `json:"execution_count"`
		Ename     string    `json:"ename"`
		Evalue    string    `json:"evalue"`
		Traceback []string  `json:"traceback"`
		Payload   []payload `json:"payload"`
	}
	if err := json.Unmarshal(m.content, &reply); err != nil {
		x.box.close(err)
		return
	}
	x.replied = true
	for i := range reply.Payload {
		reply.Payload[i].show(x)
	}
	if reply.Count > 0 && !x.opts.Silent {
		x.count = reply.Count
	}
	switch reply.Status {
	case "ok":
		x.status = StatusOK
	case "aborted", "abort":
		x.aborted = true
		x.status = StatusError
		x.exception = &KernelError{Name: "Aborted", Value: "a cell of another client failed before this one began"}
	default:
		x.status = StatusError
		x.exception = &KernelError{Name: reply.Ename, Value: reply.Evalue, Traceback: reply.Traceback}
	}
}

// payload is what a kernel asks a notebook's page to do, instead of showing it.
type payload struct {
	Source string     `json:"source"`
	Data   MIMEBundle `json:"data"`
	Text   string     `json:"text"`
}

// show shows the text of the pager, and what is put into the next cell.
func (p *payload) show(x *execution) {
	data := p.Data
	if p.Source == "set_next_input" {
		text, err := json.Marshal(p.Text)
		if err != nil {
			return
		}
		data = MIMEBundle{"text/plain": text}
	}
	if len(data) > 0 && len(data) <= maxForms && (p.Source == "page" || p.Source == "set_next_input") {
		x.show(Output{Type: OutputDisplay, Data: data})
	}
}

func (x *execution) handleOutput(m *message) {
	o, err := decodeOutput(m.header.Type, m.content)
	if err != nil {
		if !errors.Is(err, errNotOutput) {
			x.kernel.server.log.Warn("drop output", "error", err)
			x.box.markIncomplete()
		}
		return
	}
	if m.fromServer {
		x.box.markIncomplete()
	}
	x.show(o)
}

func (x *execution) show(o Output) {
	x.outputs.Add(o)
	switch {
	case x.returned && x.opts.OnLate != nil:
		x.opts.OnLate(o)
	case !x.returned && x.opts.OnOutput != nil:
		x.opts.OnOutput(o)
	}
}
