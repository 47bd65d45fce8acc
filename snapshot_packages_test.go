package seer

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestPackagesThatAreNoneAreDropped(t *testing.T) {
	t.Parallel()
	for rule, good := range map[string][]string{
		"python": {"a==1", "zope.interface==6.0", "ruamel.yaml.clib==0.2.8", "torch==2.3.0+cu121", "x_y-z==1!2.0.post1.dev3"},
		"system": {"libstdc++6=12.2.0-14", "git=1:2.39.5-0+deb12u2", "g++=4:12.2.0-3", "base-files=12.4+deb12u5~bpo"},
	} {
		re, separator := pythonPackage, "=="
		if rule == "system" {
			re, separator = systemPackage, "="
		}
		bad := []string{"", separator, "a", "evil\u009b31m" + separator + "1", "evil" + separator + "1\x1b[2J", "evil" + separator + "1\n", "-r" + separator + "1", "a b" + separator + "1", "ev\u202eil" + separator + "1", "a" + separator + "1; x", "a @ http://x" + separator + "1"}
		assert.Equal(t, good, matching(append(bad, good...), re))
	}
}
