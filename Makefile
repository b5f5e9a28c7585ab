# make         format check, build, all tests: what CI runs
# make test    installs what the tests need, runs them all, ends with one line of counts
# make dev     serves a temporary store on http://127.0.0.1:26333
# make bench   prints Coffer's speed as ratios of a bare Kestrel endpoint

.PHONY: all format build test dev bench

all: format build test

format:
	dotnet format Coffer.slnx --verify-no-changes

build:
	dotnet build Coffer.slnx -c Release --nologo

test:
	@test/run

dev:
	dotnet run --project src/Coffer -c Release -- dev

bench:
	bench/run
