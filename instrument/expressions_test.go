package instrument_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument"
	"github.com/uspan/uspan/instrument/gobin"
	"github.com/uspan/uspan/instrument/plan"
	"github.com/uspan/uspan/instrument/target"
	"github.com/uspan/uspan/internal/kerneltest"
	"github.com/uspan/uspan/internal/testprog"
)

// expressions are over what testdata/values passes.
var expressions = []string{
	"main.integers: a=a, f=f, i=i, l=l, m=m",
	"main.stringsOf: first=a[0], long200=long[200], none=empty[0], n=len(long), result=s, last=ret0[1]",
	"main.slices: second=a[1], third=a[2], fourth=a[3], none=none[0], empty=empty[0], yz=s[2], no=b[1], half=f[0], n=len(long), c=cap(empty), long100=long[100]",
	"main.arrays: second=a[1], one=one[0], b=s[1], r=ret0[1], five=ret1[0]",
	"main.structs: x=p.X, y=p.Y, name=i.Name, i=i, far=h.Numbers[150], rname=ret0.Name, ry=ret1.Y",
	"main.structSlices: b=items[1].Name, price=items[1].Price, c=pointers[0].Name, nothing=pointers[1].Name, three=nested[1][1], n=len(nested[1]), out=nested[1][2], beyond=nested[2][0], all=items",
	"main.pointers: name=u.Name, id=u.ID, created=u.created, boss=u.Manager.Name, top=u.Manager.Manager.Name, mail=u.Email, at=(*u.Email)[3], tag=u.Tags[1]," +
		" tags=len(u.Tags), room=cap(u.Tags), limits=len(u.Limits), bosslimits=len(u.Manager.Limits), raw=u.raw[2], home=u.Home, y=u.Home.Y, extra=u.Extra, err=u.err, wait=u.Wait, active=u.active, score=u.score," +
		" nobody=none.Name, n=*n, pp=**pp, f=f, b=b",
	"main.secrets: user=l.User, tries=l.Tries, last=p.Last, who=p.User",
	"main.maps: n=len(m), none=len(none), empty=len(empty), m=m, one=m[\"one\"], three=m[\"three\"], y=p[5].Y, six=p[6].X, k=s[\"k\"]," +
		" length=len(s[\"k\"]), blank=s[\"empty\"], nothing=none[1], nobody=empty[1], minus=p[-1]",
	"main.keys: yes=yes[true], no=yes[false], least=small[-128], most=small[127], zero=small[0], all=octets[255]",
	"main.secretMaps: user=m[\"user\"], letter=m[\"tokenizer\"], hot=n[\"hotplate\"], price=p[\"tea\"].Price, three=p[\"tea\"]",
	"main.bigMap: n=len(m)",
	"main.channels: n=len(c), room=cap(c), none=cap(none)",
	"main.interfaces: s=s, p=p, y=s.(point).Y, name=p.(*user).Name, wrong=s.(*user).Name, nothing=none.(point).X, r=r.(*strings.Reader).s",
	"main.anys: i=a.(int), text=b.(string), half=c.(float64), y=d.(point).Y, d=d.(point), boss=e.(*user).Manager.Name, one=f.([]int)[0]," +
		" room=cap(f.([]int)), ga=g.(map[string]int)[\"a\"], wrong=b.(int), nothing=values.(int)",
	"main.variadicInts: third=n[2]",
	"main.times: t=t, two=ret0",
	"main.spilled: j=j, s=s, t1=t[1], name=u.Name, boss=u.Manager.Name, y=u.Home.Y, tag=u.Tags[0], rj=ret0, n=len(ret1)",
	"main.results: two=b, three=c[0], four=d.Name, price=d.Price, n=len(e), err=err",
	"main.fails: given=err, path=err.(*fs.PathError).Path, number=err.(syscall.Errno)",
	"main.point.method: y=p.Y",
	"main.(*user).method: tag=u.Tags[0], s=s",
	"main.unreadable: s=s[0], y=p.Y, one=list[1], m=len(m), long=long[7], wide=wide[7], n=len(wide)",
	"main.cyclic: name=u.next.next.next.next.next.Name, n=len(m)",
}

// What is wrong with the key of a map is said, and no key that looks like that of a
// secret is looked up.
func TestWrongKeys(t *testing.T) {
	exe := testprog.Build(t, valuesProgram, testprog.Options{GoVersion: testprog.Versions()[0]})
	f, err := gobin.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for expression, problem := range map[string]string{
		`main.secretMaps: x=m["Authorization"]`:                       `"Authorization" looks like a secret, and those are not read`,
		`main.secretMaps: x=p["mySecret"].Price`:                      `"mySecret" looks like a secret, and those are not read`,
		`main.secretMaps: x=m[1]`:                                     "a key of map[string]string is of type string",
		`main.secretMaps: x=m[true]`:                                  "a key of map[string]string is of type string",
		`main.secretMaps: x=long["` + strings.Repeat("k", 200) + `"]`: "of a key, 128 bytes are read",
		"main.keys: x=small[128]":                                     "128 is no key of map[int8]string: its keys are of type int8",
		"main.keys: x=small[-129]":                                    "-129 is no key of map[int8]string: its keys are of type int8",
		"main.keys: x=octets[256]":                                    "256 is no key of map[uint8]string: its keys are of type uint8",
		"main.keys: x=octets[-1]":                                     "-1 is no key of map[uint8]string: its keys are of type uint8",
		"main.keys: x=yes[0]":                                         "a key of map[bool]string is of type bool",
		`main.keys: x=yes["true"]`:                                    "a key of map[bool]string is of type bool",
	} {
		e, err := plan.ParseExpressions(expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		_, err = plan.Build(f, plan.Rules{Patterns: []string{e.Pattern}, Expressions: []plan.Expressions{e}})
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v, want %q", expression, err, problem)
		}
	}
}

// TestExpressions compares what expressions say of what testdata/values passes, in
// the oldest and the newest release of Go and in ways to build that change where
// values lie. The golden file is the same for all.
func TestExpressions(t *testing.T) {
	const golden = "testdata/expressions.golden"
	want, err := os.ReadFile(golden)
	if err != nil && !*update {
		t.Fatal(err)
	}
	rules := plan.Rules{}
	for _, text := range expressions {
		e, err := plan.ParseExpressions(text)
		if err != nil {
			t.Fatal(err)
		}
		rules.Patterns = append(rules.Patterns, e.Pattern)
		rules.Expressions = append(rules.Expressions, e)
	}
	versions := testprog.Versions()
	for _, version := range []string{versions[len(versions)-1], versions[0]} {
		for _, flags := range [][]string{nil, {"-buildmode=pie"}, {"-gcflags=all=-N -l"}} {
			options := testprog.Options{GoVersion: version, Flags: flags}
			t.Run(options.String(), func(t *testing.T) {
				exe := testprog.Build(t, valuesProgram, options)
				kerneltest.Require(t)
				spans, summary, _ := trace(t, instrument.Config{Rules: rules}, target.Command{Path: exe})
				if summary.LostSpans() != 0 || summary.Lost.ValuesFull != 0 {
					t.Errorf("lost: %+v", summary)
				}
				got := described(spans)
				if *update {
					if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
					*update, want = false, []byte(got)
				}
				if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}
