package main

import "slices"

// quartiles are the middle half of some numbers.
type quartiles struct{ first, median, third float64 }

// quartilesOf are the quartiles of at least one number.
func quartilesOf(numbers []float64) quartiles {
	sorted := slices.Sorted(slices.Values(numbers))
	return quartiles{quantile(sorted, 0.25), quantile(sorted, 0.5), quantile(sorted, 0.75)}
}

// quantile interpolates between the two numbers that are nearest.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i == len(sorted)-1 {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// differences are the quartiles of what a cost is over another one, round by round.
func differences(costs, others []float64) quartiles {
	all := make([]float64, len(costs))
	for i := range costs {
		all[i] = costs[i] - others[i]
	}
	return quartilesOf(all)
}

// ratios are the quartiles of a cost over another one, round by round: rounds of
// the same turn saw the same machine.
func ratios(costs, others []float64) quartiles {
	all := make([]float64, len(costs))
	for i := range costs {
		all[i] = costs[i] / others[i]
	}
	return quartilesOf(all)
}
