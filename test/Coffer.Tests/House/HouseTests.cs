using System.Reflection;
using System.Reflection.Emit;

namespace Coffer.Tests.House;

/// <summary>The dependency rule of docs/architecture.md, read from the compiled program so that no alias or nesting hides a use.</summary>
public sealed class HouseTests
{
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Crypto"] = [],
        ["Storage"] = [],
        ["Audit"] = ["Crypto", "Storage"],
        ["Access"] = ["Storage", "Crypto", "Audit"],
        ["Secrets"] = ["Access", "Crypto", "Audit", "Storage"],
        ["Http"] = ["Access"],
        ["Api"] = ["Http", "Secrets", "Access"],
        // The command line knows the client and starts the server: the composition root, which stands in no room.
        ["Cli"] = [],
    };

    private static readonly Dictionary<short, OpCode> OpCodesByValue = typeof(OpCodes).GetFields(BindingFlags.Public | BindingFlags.Static)
        .Select(field => (OpCode)field.GetValue(null)!).ToDictionary(code => code.Value);

    public static TheoryData<string> Rooms() => [.. Allowed.Keys];

    [Theory]
    [MemberData(nameof(Rooms))]
    public void A_room_uses_only_the_rooms_it_may(string room)
    {
        var uses = Types(room).SelectMany(Uses).Select(RoomOf).OfType<string>().Where(used => used != room).Distinct().Order();
        Assert.Empty(uses.Except(Allowed[room]));
    }

    [Fact]
    public void Every_room_is_in_the_rule()
    {
        var rooms = typeof(Server).Assembly.GetTypes().Select(RoomOf).OfType<string>().Distinct().Order();
        Assert.Equal(Allowed.Keys.Order(), rooms);
    }

    [Fact]
    public void The_rule_sees_what_a_method_body_uses() =>
        Assert.Contains("Crypto", Types("Secrets").SelectMany(Uses).Select(RoomOf));

    [Fact]
    public void No_source_file_is_longer_than_400_lines()
    {
        var files = Directory.GetFiles(Repository.File("src"), "*.cs", SearchOption.AllDirectories).Where(file => !file.Contains("/obj/", StringComparison.Ordinal));
        Assert.All(files, file => Assert.InRange(File.ReadAllLines(file).Length, 1, 400));
    }

    [Fact]
    public void The_program_is_a_table_of_verbs() =>
        Assert.InRange(File.ReadAllLines(Repository.File("src/Coffer/Program.cs")).Length, 1, 60);

    private static IEnumerable<Type> Types(string room) => typeof(Server).Assembly.GetTypes().Where(type => RoomOf(type) == room);

    private static string? RoomOf(Type type) =>
        type.Assembly == typeof(Server).Assembly && type.Namespace?.Split('.') is ["Coffer", var room, ..] ? room : null;

    private static IEnumerable<Type> Uses(Type type)
    {
        const BindingFlags All = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;
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
            if (opcode.OperandType is OperandType.InlineMethod or OperandType.InlineField or OperandType.InlineType or OperandType.InlineTok
                && method.Module.ResolveMember(BitConverter.ToInt32(code, at), typeArguments, methodArguments) is { } member)
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
