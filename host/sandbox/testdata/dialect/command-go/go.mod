module github.com/hexdag/hexdag/host/sandbox/testdata/dialect/command-go

go 1.26
