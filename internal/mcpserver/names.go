package mcpserver

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// maxName is the longest name of a tool that clients of every kind take.
const maxName = 64

// toolNames gives functions names that clients take: 1 to 64 of A-Z, a-z, 0-9,
// _ and -. One that has others gets them replaced, and a part of its hash so
// that no two become the same.
type toolNames map[string]bool

func (taken toolNames) of(name string) string {
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, name)
	chosen := plain
	for n := 0; plain != name || len(plain) > maxName || plain == "" || taken[chosen]; n++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %s", n, name))
		mark := "_" + hex.EncodeToString(sum[:4])
		chosen = plain[:min(len(plain), maxName-len(mark))] + mark
		if !taken[chosen] {
			break
		}
	}
	taken[chosen] = true
	return chosen
}
