package bpf

import ("testing";"github.com/cilium/ebpf";"errors";"fmt")

func TestLoad(t *testing.T) {
	spec, err := Spec()
	if err != nil { t.Fatal(err) }
	spec.Variables["values_bytes"].Set(uint32(1024))
	spec.Maps["values"].ValueSize = uint32(ValuesBytes+1024)
	spec.Maps["empty_values"].ValueSize = uint32(ValuesBytes+1024)
	var o Objects
	if err := spec.LoadAndAssign(&o, nil); err != nil {
		var ve *ebpf.VerifierError
		if errors.As(err, &ve) { for i,l := range ve.Log { if i > len(ve.Log)-80 {fmt.Println(l)} } }
		t.Fatal(err)
	}
	i, _ := o.Enter.Info(); n, _ := i.VerifiedInstructions(); t.Log(n)
	o.Close()
}
