package seer

import (
	"slices"
	"strings"
)

// nearest returns the candidate that a person most likely meant by name, or
// "" when none is near.
func nearest(name string, candidates []string) string {
	best, bestDistance := "", max(2, len(name)/3)+1
	for _, candidate := range slices.Sorted(slices.Values(candidates)) {
		if d := editDistance(strings.ToLower(name), strings.ToLower(candidate)); d < bestDistance {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions and substitutions of bytes
// that make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal = row[j+1]
			row[j+1] = min(substituted, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// nearestGPU returns the GPU type of Modal that comes closest to name, or "".
// The list is for advice alone: a name that is not in it is passed on.
func nearestGPU(name string) string {
	return nearest(name, []string{
		"T4", "L4", "A10", "L40S", "A100", "A100-40GB", "A100-80GB",
		"RTX-PRO-6000", "H100", "H200", "B200",
	})
}
