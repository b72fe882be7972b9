#include "textflag.h"

// func mixed(small int8, text string, half float64, list []int, p *pair, by pair) (n int, same string, ok bool)
TEXT ·mixed(SB), NOSPLIT, $0-113
	MOVBQSX small+0(FP), AX
	ADDQ text_len+16(FP), AX
	ADDQ list_len+40(FP), AX
	MOVQ AX, n+88(FP)
	MOVQ text_base+8(FP), AX
	MOVQ AX, same_base+96(FP)
	MOVQ text_len+16(FP), AX
	MOVQ AX, same_len+104(FP)
	MOVB $1, ok+112(FP)
	RET

// func framed(text string) (same string)
TEXT ·framed(SB), $64-32
	MOVQ text_base+0(FP), AX
	MOVQ AX, same_base+16(FP)
	MOVQ text_len+8(FP), AX
	MOVQ AX, same_len+24(FP)
	RET
