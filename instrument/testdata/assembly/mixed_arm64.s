#include "textflag.h"

// func mixed(small int8, text string, half float64, list []int, p *pair, by pair) (n int, same string, ok bool)
TEXT ·mixed(SB), NOSPLIT, $0-113
	MOVB small+0(FP), R0
	MOVD text_len+16(FP), R1
	ADD  R1, R0
	MOVD list_len+40(FP), R1
	ADD  R1, R0
	MOVD R0, n+88(FP)
	MOVD text_base+8(FP), R0
	MOVD R0, same_base+96(FP)
	MOVD text_len+16(FP), R0
	MOVD R0, same_len+104(FP)
	MOVD $1, R0
	MOVB R0, ok+112(FP)
	RET

// func framed(text string) (same string)
TEXT ·framed(SB), $64-32
	MOVD text_base+0(FP), R0
	MOVD R0, same_base+16(FP)
	MOVD text_len+8(FP), R0
	MOVD R0, same_len+24(FP)
	RET
