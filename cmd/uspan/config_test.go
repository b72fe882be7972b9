package main

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/spf13/pflag"
)

// What a flag sets, the key of its name in a configuration file sets as well.
func TestConfigKeys(t *testing.T) {
	notInFile := map[string]bool{"config": true, "dry-run": true}
	samples := map[string]struct {
		args []string
		yaml string
	}{
		"func":            {[]string{"a", "!b"}, "[a, '!b']"},
		"output":          {[]string{"json", "tree"}, "[json, tree]"},
		"root":            {[]string{"a"}, "[a]"},
		"max-trace-spans": {[]string{"7"}, "7"},
		"capture":         {[]string{"none"}, "none"},
		"capture-depth":   {[]string{"3"}, "3"},
		"debug-file":      {[]string{"d"}, "d"},
		"follow":          {[]string{"true"}, "true"},
		"for":             {[]string{"3s"}, "3s"},
		"resource":        {[]string{"a=b", "c=d=e"}, "{a: b, c: d=e}"},
		"stack":           {[]string{"true"}, "true"},
		"force":           {[]string{"true"}, "true"},
		"max-open-calls":  {[]string{"2000"}, "2000"},
		"flush-timeout":   {[]string{"9s"}, "9s"},
		"verbose":         {[]string{"true"}, "true"},
		"quiet":           {[]string{"true"}, "true"},
		"user":            {[]string{"nobody"}, "nobody"},
	}
	parse := func(args ...string) *flags {
		f := &flags{}
		set := pflag.NewFlagSet("", pflag.ContinueOnError)
		f.add(set)
		f.addUser(set)
		if err := set.Parse(args); err != nil {
			t.Fatal(err)
		}
		if err := f.readConfig(set); err != nil {
			t.Fatal(err)
		}
		f.file, f.configFile, f.written = nil, "", written{}
		return f
	}
	newRun().Flags().VisitAll(func(flag *pflag.Flag) {
		sample, ok := samples[flag.Name]
		if !ok {
			if !notInFile[flag.Name] {
				t.Errorf("--%s has no key", flag.Name)
			}
			return
		}
		var args []string
		for _, arg := range sample.args {
			args = append(args, "--"+flag.Name+"="+arg)
		}
		path := filepath.Join(t.TempDir(), "uspan.yaml")
		if err := os.WriteFile(path, []byte(flag.Name+": "+sample.yaml+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		byFlag, byFile, none := parse(args...), parse("--config="+path), parse()
		if !reflect.DeepEqual(byFlag, byFile) {
			t.Errorf("%s:\nby flag %+v\nby file %+v", flag.Name, byFlag, byFile)
		}
		if reflect.DeepEqual(byFlag, none) {
			t.Errorf("%s: the sample is the default", flag.Name)
		}
		if both := parse(append(args, "--config="+path)...); !reflect.DeepEqual(byFlag, both) {
			t.Errorf("%s: the flag does not win: %+v", flag.Name, both)
		}
	})
}
