package modalserver

import (
	"crypto/rand"
	"math/big"
)

const (
	idAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	idLength   = 22
)

// newID returns prefix and 22 random letters and digits, the shape of Modal's
// IDs. It never ends in V: newer clients take such a task for one of another kind.
func newID(prefix string) string {
	id := []byte(prefix)
	size := big.NewInt(int64(len(idAlphabet)))
	for len(id) < len(prefix)+idLength {
		// crypto/rand's reader never returns an error.
		n, _ := rand.Int(rand.Reader, size)
		c := idAlphabet[n.Int64()]
		if c == 'V' && len(id) == len(prefix)+idLength-1 {
			continue
		}
		id = append(id, c)
	}
	return string(id)
}
