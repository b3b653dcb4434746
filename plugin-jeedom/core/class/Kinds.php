<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * The kinds of flows: what forms and commands are made from. The daemon tells them; while it is away, the copy that comes
 * with the plugin does.
 */
final class Kinds
{
    /** The kind of an equipment that does not say. */
    public const FIRST = 'mirror';

    /** @var array<string, array<int, array<string, mixed>>> by language */
    private static array $shipped = [];

    /**
     * All kinds in the language of the person: kind, title, description, schema, counters.
     *
     * @return array<int, array<string, mixed>>
     */
    public static function all(): array
    {
        try {
            return Rpc::call('flow.kinds', ['language' => \translate::getLanguage()], 2.0);
        } catch (AwayException | RpcException $e) {
            return self::shipped();
        }
    }

    /**
     * Those that come with the plugin.
     *
     * @return array<int, array<string, mixed>>
     */
    public static function shipped(): array
    {
        $language = substr(\translate::getLanguage(), 0, 2) === 'fr' ? 'fr' : 'en';
        if (!isset(self::$shipped[$language])) {
            // In a release, and in a clone of the sources.
            foreach ([__DIR__ . '/../config/kinds.json', __DIR__ . '/../../../resources/kinds.json'] as $file) {
                if (is_file($file)) {
                    $all = json_decode((string) file_get_contents($file), true);
                    self::$shipped[$language] = $all[$language] ?? [];
                    break;
                }
            }
        }
        return self::$shipped[$language] ?? [];
    }

    /**
     * The counters of a kind, in order.
     *
     * @return array<int, array<string, mixed>> name, title, unit, gauge, main, history
     */
    public static function counters(string $kind): array
    {
        foreach (self::shipped() as $known) {
            if ($known['kind'] === $kind) {
                return $known['counters'];
            }
        }
        // A daemon that is newer than the plugin.
        foreach (self::all() as $known) {
            if ($known['kind'] === $kind) {
                return $known['counters'];
            }
        }
        return [];
    }

    public static function title(string $kind): string
    {
        foreach (self::shipped() as $known) {
            if ($known['kind'] === $kind) {
                return (string) $known['title'];
            }
        }
        return $kind;
    }

    /** Whether specs of the kind may have passwords in them. */
    public static function hasSecrets(string $kind): bool
    {
        foreach (self::shipped() as $known) {
            if ($known['kind'] === $kind) {
                return strpos((string) json_encode($known['schema']), '"x-secret":true') !== false;
            }
        }
        return false;
    }

    /**
     * Everything that is wrong with a spec, each with a JSON pointer into it.
     *
     * @param object|array<mixed> $spec
     * @return array<int, array{pointer: string, message: string}>
     * @throws AwayException
     * @throws RpcException
     */
    public static function check(?string $id, string $kind, $spec): array
    {
        $checked = Rpc::call('flow.check', ['id' => $id, 'kind' => $kind, 'spec' => $spec]);
        return self::pointersIntoSpec($checked['problems'] ?? []);
    }

    /**
     * The daemon's pointers are into the parameters of the call.
     *
     * @param mixed $problems
     * @return array<int, array{pointer: string, message: string}>
     */
    public static function pointersIntoSpec($problems): array
    {
        $found = [];
        foreach (is_array($problems) ? $problems : [] as $problem) {
            $pointer = (string) preg_replace('#^(/flows/\d+)?/spec(?=/|$)#', '', (string) ($problem['pointer'] ?? ''));
            $found[] = ['pointer' => $pointer, 'message' => (string) ($problem['message'] ?? '')];
        }
        return $found;
    }

    /**
     * The spec that a text is.
     *
     * @throws \Exception the text is no JSON object
     */
    public static function spec(string $text): object
    {
        // As objects: an empty one stays one.
        $spec = json_decode($text === '' ? '{}' : $text, false, 64);
        if (!is_object($spec)) {
            throw new \Exception(sprintf(__('Les paramètres ne sont pas un objet JSON : %s', __FILE__), json_last_error_msg()));
        }
        return $spec;
    }
}
