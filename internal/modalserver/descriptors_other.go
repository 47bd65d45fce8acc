//go:build !unix

package modalserver

import "math"

// descriptorLimit is how many descriptors this process may have.
func descriptorLimit() int { return math.MaxInt32 }
