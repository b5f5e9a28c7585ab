# make         locked restore, format check, build (style and analyzers are errors there), all tests: what CI runs
# make test    installs what the tests need, runs them all, ends with one line of counts
# make dev     serves a temporary store on http://127.0.0.1:26333
# make bench   prints Coffer's speed as ratios of a bare Kestrel endpoint

.PHONY: all restore format build test dev bench

all: restore format build test

restore:
	dotnet restore Coffer.slnx --locked-mode --verbosity quiet

format: restore
	dotnet format whitespace Coffer.slnx --no-restore --verify-no-changes

build: restore
	dotnet build Coffer.slnx -c Release --no-restore --nologo --verbosity quiet

test:
	@test/run

dev:
	dotnet run --project src/Coffer -c Release -- dev

bench:
	bench/run
