package seer

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCommonEnds(t *testing.T) {
	long := make([]byte, 3*compareBlock+5)
	changed := append([]byte(nil), long...)
	changed[2*compareBlock] = 1
	for name, test := range map[string]struct {
		a, b       []byte
		head, tail int
	}{
		"nothing before": {nil, []byte("abc"), 0, 0},
		"nothing after":  {[]byte("abc"), nil, 0, 0},
		"the same":       {long, long, len(long), 0},
		"in the middle":  {[]byte("abXde"), []byte("abYYde"), 2, 2},
		"added":          {[]byte("aaa"), []byte("aaaa"), 3, 0},
		"removed":        {[]byte("aaaa"), []byte("aaa"), 3, 0},
		"in a block":     {long, changed, 2 * compareBlock, compareBlock + 4},
	} {
		head := commonPrefix(test.a, test.b)
		assert.Equal(t, test.head, head, name)
		assert.Equal(t, test.tail, commonSuffix(test.a[head:], test.b[head:]), name)
	}
}
