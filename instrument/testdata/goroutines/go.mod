module example.com/goroutines

go 1.18

require golang.org/x/sync v0.8.0
