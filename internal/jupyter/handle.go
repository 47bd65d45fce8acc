package jupyter

import (
	"encoding/json"
	"errors"
)

// handle applies one message of the kernel to the cell.
func (x *execution) handle(m *message) {
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
		Status    string   `json:"status"`
		Count     int      `json:"execution_count"`
		Ename     string   `json:"ename"`
		Evalue    string   `json:"evalue"`
		Traceback []string `json:"traceback"`
	}
	if err := json.Unmarshal(m.content, &reply); err != nil {
		x.box.close(err)
		return
	}
	x.replied = true
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
	x.outputs.add(o)
	switch {
	case x.returned && x.opts.OnLate != nil:
		x.opts.OnLate(o)
	case !x.returned && x.opts.OnOutput != nil:
		x.opts.OnOutput(o)
	}
}
