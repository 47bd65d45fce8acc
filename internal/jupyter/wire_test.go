package jupyter

import (
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func sample() *message {
	m := newMessage(channelShell, "execute_request", json.RawMessage(`{"code":"1"}`))
	m.header.Session = "s"
	return m
}

func TestWireRoundTrip(t *testing.T) {
	binaryFrame, err := encodeBinary(sample())
	require.NoError(t, err)
	textFrame, err := encodeText(sample())
	require.NoError(t, err)
	legacy := binary.BigEndian.AppendUint32(nil, 2)
	legacy = binary.BigEndian.AppendUint32(legacy, 12)
	legacy = binary.BigEndian.AppendUint32(legacy, uint32(12+len(textFrame)))
	legacy = append(append(legacy, textFrame...), "buffer"...)

	for name, decode := range map[string]func() (*message, error){
		"binary": func() (*message, error) { return decodeBinary(binaryFrame, uint64(len(binaryFrame))) },
		"text":   func() (*message, error) { return decodeText(textFrame) },
		"legacy": func() (*message, error) { return decodeLegacyBinary(legacy) },
	} {
		t.Run(name, func(t *testing.T) {
			m, err := decode()
			require.NoError(t, err)
			assert.Equal(t, channelShell, m.channel)
			assert.Equal(t, "execute_request", m.header.Type)
			assert.Equal(t, "s", m.header.Session)
			assert.JSONEq(t, `{"code":"1"}`, string(m.content))
			assert.Empty(t, m.parent.ID)
		})
	}
}

func TestDecodeRefusesCutFrames(t *testing.T) {
	frame, err := encodeBinary(sample())
	require.NoError(t, err)
	for size := range frame {
		_, err := decodeBinary(frame[:size], uint64(len(frame[:size])))
		require.Error(t, err, "%d bytes", size)
	}
}

func FuzzDecodeBinary(f *testing.F) {
	frame, err := encodeBinary(sample())
	require.NoError(f, err)
	f.Add(frame)
	f.Add(frame[:len(frame)/2])
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeBinary(data, uint64(len(data)))
		if err != nil {
			return
		}
		again, err := encodeBinary(m)
		require.NoError(t, err)
		same, err := decodeBinary(again, uint64(len(again)))
		require.NoError(t, err)
		assert.Equal(t, m.channel, same.channel)
		assert.Equal(t, string(m.content), string(same.content))
	})
}

func FuzzDecodeLegacyBinary(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01\x00\x00\x00\x08{}"))
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := decodeLegacyBinary(data); err == nil {
			assert.NotNil(t, m)
		}
	})
}

func FuzzDecodeText(f *testing.F) {
	frame, err := encodeText(sample())
	require.NoError(f, err)
	f.Add(frame)
	f.Add([]byte(`{"channel":"iopub","header":{"msg_id":"a","msg_type":"stream"},"parent_header":null,"content":{"name":"stdout","text":"x"}}`))
	f.Add([]byte(`{"header":[],"parent_header":{"msg_id":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeText(data)
		if err != nil {
			return
		}
		again, err := encodeText(m)
		require.NoError(t, err)
		same, err := decodeText(again)
		require.NoError(t, err)
		assert.Equal(t, m.channel, same.channel)
		assert.Equal(t, m.header, same.header)
	})
}
