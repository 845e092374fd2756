module github.com/hexdag/hexdag/guests/sdk/go

go 1.26
