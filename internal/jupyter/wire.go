package jupyter

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// subprotocol frames the parts of a kernel message by offsets, so that the
// server passes them on without parsing them.
const subprotocol = "v1.kernel.websocket.jupyter.org"

// protocolVersion is the version of the kernel messages that we send.
const protocolVersion = "5.3"

const (
	channelShell   = "shell"
	channelControl = "control"
	channelIOPub   = "iopub"
)

type header struct {
	ID       string `json:"msg_id"`
	Type     string `json:"msg_type"`
	Session  string `json:"session"`
	Username string `json:"username"`
	Version  string `json:"version"`
	Date     string `json:"date"`
}

type message struct {
	channel string
	header  header
	parent  header
	content json.RawMessage
	// cut is how many bytes the content had, if that was too large to be read.
	// Then content and end are its beginning and its end, and no JSON.
	cut int64
	end []byte
	// fromServer tells what the server itself says from what the kernel says.
	fromServer bool
}

func (m *message) size() int { return messageCost + len(m.content) + len(m.end) }

// isOutput reports whether the message shows something.
func (m *message) isOutput() bool {
	switch OutputType(m.header.Type) {
	case OutputStream, OutputResult, OutputDisplay, OutputError, OutputUpdateDisplay:
		return true
	}
	return false
}

// textMessage is the form of a message without the subprotocol.
type textMessage struct {
	Channel  string          `json:"channel"`
	Header   header          `json:"header"`
	Parent   json.RawMessage `json:"parent_header"`
	Metadata json.RawMessage `json:"metadata"`
	Content  json.RawMessage `json:"content"`
	Buffers  []string        `json:"buffers"`
}

var emptyObject = json.RawMessage("{}")

func encodeText(m *message) ([]byte, error) {
	return json.Marshal(textMessage{
		Channel:  m.channel,
		Header:   m.header,
		Parent:   emptyObject,
		Metadata: emptyObject,
		Content:  m.content,
		Buffers:  []string{},
	})
}

func decodeText(data []byte) (*message, error) {
	var t textMessage
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, fmt.Errorf("decode kernel message: %w", err)
	}
	m := &message{channel: t.Channel, header: t.Header, content: t.Content}
	if err := decodeParent(t.Parent, &m.parent); err != nil {
		return nil, err
	}
	return m, nil
}

// decodeLegacyBinary decodes what a server sends without the subprotocol for a
// message with buffers: a big-endian count, that many offsets, then the parts,
// the first of which is the message in its text form.
func decodeLegacyBinary(data []byte) (*message, error) {
	if len(data) < 8 {
		return nil, errors.New("decode kernel message: frame too short")
	}
	count := uint64(binary.BigEndian.Uint32(data))
	size := uint64(len(data))
	if count == 0 || count > size/4-1 {
		return nil, fmt.Errorf("decode kernel message: %d parts in %d bytes", count, size)
	}
	start, end := uint64(binary.BigEndian.Uint32(data[4:])), size
	if count > 1 {
		end = uint64(binary.BigEndian.Uint32(data[8:]))
	}
	if start > end || end > size {
		return nil, errors.New("decode kernel message: offsets out of order")
	}
	return decodeText(data[start:end])
}

func encodeBinary(m *message) ([]byte, error) {
	head, err := json.Marshal(m.header)
	if err != nil {
		return nil, fmt.Errorf("encode kernel message: %w", err)
	}
	parts := [][]byte{[]byte(m.channel), head, emptyObject, emptyObject, m.content}
	at := 8 * (len(parts) + 2)
	frame := binary.LittleEndian.AppendUint64(nil, uint64(len(parts)+1))
	frame = binary.LittleEndian.AppendUint64(frame, uint64(at))
	for _, part := range parts {
		at += len(part)
		frame = binary.LittleEndian.AppendUint64(frame, uint64(at))
	}
	for _, part := range parts {
		frame = append(frame, part...)
	}
	return frame, nil
}

// decodeBinary decodes a frame of the subprotocol: a little-endian count of
// offsets, the offsets, then channel, header, parent header, metadata, content
// and buffers. The content is copied out of the frame. Of a frame whose size was
// too large, data is the beginning.
func decodeBinary(data []byte, size uint64) (*message, error) {
	const fixedParts = 5
	if len(data) < 8 {
		return nil, errors.New("decode kernel message: frame too short")
	}
	count, there := binary.LittleEndian.Uint64(data), uint64(len(data))
	if count <= fixedParts || count > there/8-1 {
		return nil, fmt.Errorf("decode kernel message: %d offsets in %d bytes", count, size)
	}
	offset := func(i int) uint64 { return binary.LittleEndian.Uint64(data[8*(i+1):]) }
	var parts [fixedParts][]byte
	var cut int64
	for i := range parts {
		start, end := offset(i), offset(i+1)
		if start < 8*(count+1) || start > end || end > size {
			return nil, errors.New("decode kernel message: offsets out of order")
		}
		if i == fixedParts-1 && end > there { // the content
			cut, parts[i] = int64(end-start), data[min(start, there):]
			break
		}
		if end > there {
			return nil, errors.New("decode kernel message: headers too large")
		}
		parts[i] = data[start:end]
	}
	m := &message{channel: string(parts[0]), content: bytes.Clone(parts[4]), cut: cut}
	if err := json.Unmarshal(parts[1], &m.header); err != nil {
		return nil, fmt.Errorf("decode kernel message: header: %w", err)
	}
	if err := decodeParent(parts[2], &m.parent); err != nil {
		return nil, err
	}
	return m, nil
}

// decodeParent accepts an empty parent, which some messages have.
func decodeParent(raw []byte, parent *header) error {
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, parent); err != nil {
		return fmt.Errorf("decode kernel message: parent header: %w", err)
	}
	return nil
}
