package modelcache

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// The beginnings of the names of all volumes with models.
const (
	plainPrefix  = "seer-model-"
	hiddenPrefix = "seer-hidden-"
)

const (
	maxName  = 63 // characters that the name of a volume may have
	hashSize = 10 // hex digits of each of the two hashes in a name
)

// Namer names volumes and mount paths. Those of hidden models are keyed
// hashes: random to whoever lacks the secret, and the same again for whoever
// has it.
type Namer struct{ secret []byte }

// NewNamer returns a Namer for a secret that no sandbox gets to see. Without a
// secret it makes one up, and hidden models are then cached for its lifetime
// only.
func NewNamer(secret []byte) (Namer, error) {
	if len(secret) > 0 {
		return Namer{append([]byte(nil), secret...)}, nil
	}
	secret = make([]byte, sha256.Size)
	if _, err := rand.Read(secret); err != nil {
		return Namer{}, fmt.Errorf("make secret for names: %w", err)
	}
	return Namer{secret}, nil
}

// Volume names the volume of a model at a commit. What is on a volume never
// changes afterwards, so that a branch that moves disturbs no running sandbox.
// The name has at most 63 characters of [A-Za-z0-9._-].
func (n Namer) Volume(m Model, commit string) string {
	if m.Hidden {
		return hiddenPrefix + n.keyed("volume", commit, m)
	}
	return family(m) + commit[:min(hashSize, len(commit))]
}

// family is what the names of a model's volumes at all commits begin with.
func family(m Model) string {
	hash := digest(m.repository(), m.Include, m.Exclude)
	room := maxName - len(plainPrefix) - 2*(hashSize+1)
	slug, _ := slugify(m.repository())
	return plainPrefix + strings.Trim(slug[:min(room, len(slug))], "-._") + "-" + hash + "-"
}

// MountPath is the directory at which sandboxes see a model. It is known
// before the hub is asked and differs for all models that one config can hold.
func (n Namer) MountPath(m Model) string {
	if m.Hidden {
		return "/models/" + n.keyed("mount", m.revision(), m)
	}
	slug, exact := slugify(m.ID)
	path := "/models/" + slug
	if !exact || m.Revision != "" || len(m.Include)+len(m.Exclude) > 0 {
		path += "-" + digest(m.ID, m.revision(), m.Include, m.Exclude)
	}
	return path
}

// keyed is 128 bits in hex. It goes by the names that were declared, which are
// known when the hub is not.
func (n Namer) keyed(use, at string, m Model) string {
	mac := hmac.New(sha256.New, n.secret)
	mac.Write(encode(use, at, append([]string{m.ID}, m.Conceal...), m.Include, m.Exclude))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

func digest(values ...any) string {
	sum := sha256.Sum256(encode(values...))
	return hex.EncodeToString(sum[:])[:hashSize]
}

// encode is injective, unlike joining with a separator.
func encode(values ...any) []byte {
	data, err := json.Marshal(values)
	if err != nil { // strings and slices of strings always marshal
		return fmt.Append(nil, values...)
	}
	return data
}

var (
	hubID    = regexp.MustCompile(`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?$`)
	unusable = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
)

// slugify makes an id a single readable word. Exact says that no two ids share
// it, as the hub allows no "--" in names.
func slugify(id string) (slug string, exact bool) {
	exact = hubID.MatchString(id) && !strings.Contains(id, "--") && strings.Trim(id, ".") == id
	return unusable.ReplaceAllString(strings.Replace(id, "/", "--", 1), "-"), exact
}
