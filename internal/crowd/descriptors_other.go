//go:build !unix

package crowd

import "math"

// descriptorLimit is how many descriptors this process may have.
func descriptorLimit() int { return math.MaxInt32 }
