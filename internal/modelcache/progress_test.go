package modelcache

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
)

// Who joins a download reads at once what took it minutes to say.
func TestMeterOfWhoJoins(t *testing.T) {
	var m meter
	at := time.Unix(1000, 0)
	for bytes := int64(0); bytes <= 1000; bytes += 10 {
		assert.Zero(t, m.measure(Event{}, huggingface.Report{Bytes: bytes, Total: 2000}, at).Rate)
		at = at.Add(time.Millisecond)
	}
	next := m.measure(Event{}, huggingface.Report{Bytes: 1100, Total: 2000}, at.Add(999*time.Millisecond))
	assert.InDelta(t, 100, next.Rate, 1e-9)
	assert.Equal(t, 9*time.Second, next.ETA)
}

func TestMeter(t *testing.T) {
	var m meter
	start := time.Unix(1000, 0)
	at := func(seconds int, bytes int64) Event {
		return m.measure(Event{}, huggingface.Report{Bytes: bytes, Total: 2000}, start.Add(time.Duration(seconds)*time.Second))
	}
	first := at(0, 1000)
	assert.Zero(t, first.Rate, "what earlier runs left is no speed")
	assert.EqualValues(t, 1000, first.Bytes)
	second := at(2, 1200)
	assert.InDelta(t, 100, second.Rate, 1e-9)
	assert.Equal(t, 8*time.Second, second.ETA)
	// A stall: the rate falls, and after the window nothing is known.
	assert.InDelta(t, 20, at(10, 1200).Rate, 1e-9)
	assert.Zero(t, at(13, 1200).Rate)
	assert.Zero(t, at(13, 1200).ETA)
	// It goes on, and the stall is soon forgotten.
	assert.InDelta(t, 400.0/11, at(24, 1600).Rate, 1e-9)
}
