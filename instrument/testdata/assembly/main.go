// Assembly calls functions that are written in assembly: their arguments and
// results are on the stack. It prints what they returned.
package main

import "fmt"

type pair struct {
	A int8
	B string
}

// mixed returns the sum of what it is given, the text, and whether there is one.
func mixed(small int8, text string, half float64, list []int, p *pair, by pair) (n int, same string, ok bool)

// framed returns the text: a frame of its own lies between it and its arguments.
func framed(text string) (same string)

func main() {
	n, same, ok := mixed(-3, "text", 2.5, []int{7, 8}, &pair{1, "one"}, pair{2, "two"})
	fmt.Println(n, same, ok, framed("framed"))
}
