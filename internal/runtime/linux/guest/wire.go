//go:build linux

package guest

import (
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/inroot"
	"github.com/ajobi-uhc/seer-go/internal/runtime/linux/self"
)

// request is what the host asks for; exactly one field is set.
type request struct {
	Boot   *bootRequest   `json:",omitempty"`
	Exec   *execRequest   `json:",omitempty"`
	Kill   *killRequest   `json:",omitempty"`
	Dial   *dialRequest   `json:",omitempty"`
	File   *fileRequest   `json:",omitempty"`
	Mount  *mountRequest  `json:",omitempty"`
	Freeze *freezeRequest `json:",omitempty"`
}

// answer is the first frame that comes back.
type answer struct {
	self.Result
	Process int           `json:",omitempty"` // of an exec
	Infos   []inroot.Info `json:",omitempty"` // of a stat or a directory
}

// exit is the second frame of an exec, when the process has ended.
type exit struct {
	Code, Signal int
}
