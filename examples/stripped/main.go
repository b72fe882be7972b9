// Stripped says what parcels cost: a small program to be stripped. It knows
// nothing of being traced.
package main

import (
	"errors"
	"flag"
	"fmt"
	"time"
)

// A parcel is what somebody wants to send.
type parcel struct {
	To    string
	Grams int
}

var errTooHeavy = errors.New("too heavy")

func main() {
	rounds := flag.Int("n", 0, "end after so many rounds (0: never)")
	flag.Parse()
	parcels := []parcel{{"Oslo", 800}, {"Lima", 12_000}, {"Nagoya", 40_000}}
	for round := 0; *rounds == 0 || round < *rounds; round++ {
		for _, p := range parcels {
			cents, err := quote(p)
			if err != nil {
				fmt.Println("no quote")
				continue
			}
			fmt.Printf("%d.%02d\n", cents/100, cents%100)
		}
		time.Sleep(time.Second)
	}
}

// quote is what it costs to send a parcel.
func quote(p parcel) (cents int, err error) {
	if p.Grams > 30_000 {
		return 0, fmt.Errorf("to %s: %w", p.To, errTooHeavy)
	}
	return 450 + 380*(p.Grams/2000), nil
}
