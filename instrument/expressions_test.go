package instrument_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/uspan/uspan/instrument"
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
		" length=len(s[\"k\"]), blank=s[\"empty\"], nothing=none[1], nobody=empty[1]",
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

// TestExpressions compares what expressions say of what testdata/values passes, in
// the oldest and the newest release of Go and in ways to build that change where
// values lie. The golden file is the same for all.
func TestExpressions(t *testing.T) {
	source, err := os.ReadFile("testdata/values/main.go")
	if err != nil {
		t.Fatal(err)
	}
	archive := "-- go.mod --\nmodule example.com/values\n\ngo 1.18\n-- main.go --\n" + string(source)
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
				exe := testprog.Build(t, archive, options)
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
