using System.Reflection;
using System.Reflection.Emit;
using Coffer.Hosting;

namespace Coffer.Tests.House;

/// <summary>
/// The dependency rule of docs/architecture.md, read from the compiled program so that no alias or nesting hides a use.
/// A room is a folder of src/Coffer; the ground floor is what stands in none. Every room may use that and Telemetry.
/// </summary>
[Trait("House in order", "1")]
public sealed class HouseTests
{
    private const string Ground = "", Telemetry = "Telemetry";

    private static readonly string[] Engines = ["Storage.Sqlite", "Storage.Postgres"];
    private static readonly string[] Keys = ["Crypto", "Storage"];
    private static readonly string[] Audit = ["Keys", .. Keys];
    private static readonly string[] Access = ["Audit", .. Audit];
    private static readonly string[] Secrets = ["Access", .. Access];
    private static readonly string[] Management = ["Secrets", .. Secrets];
    private static readonly string[] Transfer = [.. Engines, "Management", .. Management];

    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        [Ground] = [],
        [Telemetry] = [],
        ["Settings"] = [],
        ["Crypto"] = [],
        ["Storage"] = [],
        ["Storage.Sqlite"] = ["Storage"],
        ["Storage.Postgres"] = ["Storage"],
        ["Keys"] = Keys,
        ["Audit"] = Audit,
        ["Access"] = Access,
        ["Secrets"] = Secrets,
        ["Management"] = Management,
        ["Http"] = ["Access"],
        ["Api"] = ["Http", "Management", "Secrets", "Access", "Settings"],
        ["Api.Admin"] = ["Api", "Http", "Management", "Secrets", "Access", "Settings"],
        ["Transfer"] = Transfer,
        ["Webhooks"] = ["Management", .. Management],
        ["Hosting"] = ["Api", "Api.Admin", "Http", "Settings", "Transfer", "Webhooks", .. Transfer],
        ["Checks"] = ["Hosting", "Settings", "Transfer", .. Transfer],
        ["Cli"] = ["Checks", "Hosting", "Settings", "Transfer"],
    };

    private static readonly Assembly Coffer = typeof(Server).Assembly;

    private static readonly Dictionary<short, OpCode> OpCodesByValue = typeof(OpCodes)
        .GetFields(BindingFlags.Public | BindingFlags.Static)
        .Select(field => (OpCode)field.GetValue(null)!).ToDictionary(code => code.Value);

    public static TheoryData<string> Rooms() => [.. Allowed.Keys];

    [Theory]
    [MemberData(nameof(Rooms))]
    public void A_room_uses_only_the_rooms_it_may(string room)
    {
        string[] forAll = room == Ground ? [Ground] : [Ground, Telemetry];
        var may = Allowed[room].Append(room).Concat(forAll).ToHashSet();
        var uses = Types(room).SelectMany(type => Uses(type).Select(used => (Type: type, Used: used)))
            .Where(use => RoomOf(use.Used) is { } used && !may.Contains(used))
            .Select(use => $"{use.Type.Name} uses {use.Used.FullName}").Distinct().Order();
        Assert.Empty(uses);
    }

    [Fact]
    public void Every_room_is_in_the_rule() =>
        Assert.Equal(Allowed.Keys.Order(), Coffer.GetTypes().Select(RoomOf).OfType<string>().Distinct().Order());

    [Fact]
    public void Each_file_says_the_room_that_its_folder_is()
    {
        var root = Repository.File("src/Coffer");
        Assert.All(Sources(), file =>
        {
            var folder = Path.GetDirectoryName(Path.GetRelativePath(root, file))!.Replace('/', '.');
            var room = folder.Length == 0 ? "Coffer" : $"Coffer.{folder}";
            Assert.True(Allowed.ContainsKey(folder), $"{file} is in no room");
            Assert.Contains(File.ReadLines(file), line => line == $"namespace {room};" || IsProgram(file));
        });
    }

    [Fact]
    public void The_rule_sees_what_a_method_body_uses() =>
        Assert.Contains("Crypto", Types("Secrets").SelectMany(Uses).Select(RoomOf));

    [Fact]
    [Trait("House in order", "5")]
    public void A_constructor_has_at_most_six_dependencies()
    {
        var types = Coffer.GetTypes().Where(type => RoomOf(type) is not null && !IsRecord(type));
        Assert.Empty(types.SelectMany(type => type.GetConstructors(All))
            .Where(made => !made.DeclaringType!.IsSubclassOf(typeof(Delegate)) && Given(made) > 6)
            .Select(made => made.DeclaringType!.FullName));
    }

    // What the compiler fills in, nobody gives.
    private static int Given(ConstructorInfo made) => made.GetParameters()
        .Count(parameter => !parameter.IsDefined(typeof(System.Runtime.CompilerServices.CallerMemberNameAttribute)));

    [Fact]
    public void No_source_file_is_longer_than_400_lines()
    {
        Assert.All(Sources(), file => Assert.InRange(File.ReadAllLines(file).Length, 1, 400));
    }

    /// <summary>A build that does without a cloud's library leaves out a file.</summary>
    [Theory]
    [InlineData("Azure.", "AzureKeyVaultWrapper.cs")]
    [InlineData("Google.", "GoogleKmsWrapper.cs")]
    [InlineData("Amazon.", "AwsKmsWrapper.cs")]
    public void A_clouds_library_is_behind_one_file(string library, string file) =>
        Assert.Equal([file], Sources().Where(each => File.ReadLines(each).Any(
            line => line.StartsWith($"using {library}", StringComparison.Ordinal))).Select(Path.GetFileName));

    [Fact]
    public void The_program_is_a_table_of_verbs() =>
        Assert.InRange(File.ReadAllLines(Repository.File("src/Coffer/Cli/Program.cs")).Length, 1, 60);

    private const BindingFlags All = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance
        | BindingFlags.Static | BindingFlags.DeclaredOnly;

    private static IEnumerable<string> Sources() =>
        Directory.GetFiles(Repository.File("src/Coffer"), "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains("/obj/", StringComparison.Ordinal));

    private static bool IsProgram(string file) => Path.GetFileName(file) == "Program.cs";

    private static bool IsRecord(Type type) => type.GetMethod("<Clone>$", All) is not null || type.IsValueType;

    private static IEnumerable<Type> Types(string room) => Coffer.GetTypes().Where(type => RoomOf(type) == room);

    // The program's entry stands in no namespace, and in the room of the verbs.
    private static string? RoomOf(Type type)
    {
        if (type.Assembly != Coffer)
            return null;
        if (type.Name == "Program" || type.DeclaringType?.Name == "Program")
            return "Cli";
        if (type.Namespace is not { } space || !$"{space}.".StartsWith("Coffer.", StringComparison.Ordinal))
            return null;
        return space == "Coffer" ? Ground : space["Coffer.".Length..];
    }

    private static IEnumerable<Type> Uses(Type type)
    {
        var used = new HashSet<Type>();
        Add(type.BaseType);
        foreach (var field in type.GetFields(All))
            Add(field.FieldType);
        foreach (var method in type.GetMethods(All).Cast<MethodBase>().Concat(type.GetConstructors(All)))
        {
            Add((method as MethodInfo)?.ReturnType);
            foreach (var parameter in method.GetParameters())
                Add(parameter.ParameterType);
            foreach (var local in method.GetMethodBody()?.LocalVariables ?? [])
                Add(local.LocalType);
            foreach (var member in Members(method))
                Add(member as Type ?? member.DeclaringType);
        }

        return used;

        void Add(Type? found)
        {
            if (found is null)
                return;
            if (found.HasElementType)
            {
                Add(found.GetElementType());
                return;
            }

            if (used.Add(found.IsGenericType ? found.GetGenericTypeDefinition() : found) && found.IsGenericType)
            {
                foreach (var argument in found.GetGenericArguments())
                    Add(argument);
            }
        }
    }

    // Every member that the body of a method names, by the tokens in its instructions.
    private static IEnumerable<MemberInfo> Members(MethodBase method)
    {
        var code = method.GetMethodBody()?.GetILAsByteArray() ?? [];
        var typeArguments = method.DeclaringType!.IsGenericType ? method.DeclaringType.GetGenericArguments() : null;
        var methodArguments = method.IsGenericMethod ? method.GetGenericArguments() : null;
        for (var at = 0; at < code.Length;)
        {
            var value = code[at] == 0xFE ? unchecked((short)(0xFE00 | code[at + 1])) : code[at];
            var opcode = OpCodesByValue[value];
            at += opcode.Size;
            if (opcode.OperandType is OperandType.InlineMethod or OperandType.InlineField or OperandType.InlineType
                or OperandType.InlineTok
                && method.Module.ResolveMember(BitConverter.ToInt32(code, at), typeArguments,
                    methodArguments) is { } member)
                yield return member;
            at += opcode.OperandType switch
            {
                OperandType.InlineNone => 0,
                OperandType.ShortInlineBrTarget or OperandType.ShortInlineI or OperandType.ShortInlineVar => 1,
                OperandType.InlineVar => 2,
                OperandType.InlineI8 or OperandType.InlineR => 8,
                OperandType.InlineSwitch => 4 + 4 * BitConverter.ToInt32(code, at),
                _ => 4,
            };
        }
    }
}
