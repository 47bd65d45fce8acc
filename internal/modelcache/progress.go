package modelcache

import (
	"time"

	"github.com/ajobi-uhc/seer-go/internal/huggingface"
)

// Phase says what an [Event] is about.
type Phase string

// The phases of getting a model.
const (
	Downloading Phase = "downloading" // by this program
	Waiting     Phase = "waiting"     // for another program's download
	Moved       Phase = "moved"       // the revision points to another commit than the cached one
	Offline     Phase = "offline"     // the hub cannot be asked, the cached commit is used
	Repairing   Phase = "repairing"   // the volume is not as it was left
	Ready       Phase = "ready"
)

// Event is one thing that happened to a model on its way to its volume.
type Event struct {
	Model string // the model's label
	Phase Phase

	Bytes, Total int64 // on the volume, and in the end
	Files, Of    int
	Rate         float64       // bytes a second, of late; 0 = not known yet
	ETA          time.Duration // 0 = not known yet

	From, To string // with Moved: the commits
}

const (
	window = 10 * time.Second       // over which a rate is taken
	burst  = 100 * time.Millisecond // between reports that were made at other times than they came
)

// meter turns byte counts into rates.
type meter struct {
	samples []sample
}

type sample struct {
	at    time.Time
	bytes int64
}

// measure returns the event for a report that came at a time. Bytes of earlier
// runs count as progress, not as speed: they are in the first sample. So are
// those of a download that was joined, whose reports so far come all at once.
func (m *meter) measure(e Event, r huggingface.Report, at time.Time) Event {
	e.Bytes, e.Total, e.Files, e.Of = r.Bytes, r.Total, r.Files, r.Of
	if len(m.samples) == 1 && at.Sub(m.samples[0].at) < burst {
		m.samples = nil
	}
	m.samples = append(m.samples, sample{at, r.Bytes})
	for len(m.samples) > 2 && at.Sub(m.samples[1].at) >= window {
		m.samples = m.samples[1:]
	}
	first := m.samples[0]
	if elapsed := at.Sub(first.at); elapsed > 0 && r.Bytes > first.bytes {
		e.Rate = float64(r.Bytes-first.bytes) / elapsed.Seconds()
		e.ETA = time.Duration(float64(r.Total-r.Bytes) / e.Rate * float64(time.Second)).Round(time.Second)
	}
	return e
}
