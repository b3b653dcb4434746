<?php

function include_file($_folder, $_fn, $_type, $_plugin = '')
{
    $kinds = ['class' => ['/class', '.class.php'], 'php' => ['/php', '.php'], 'config' => ['/config', '.config.php']];
    if (!isset($kinds[$_type])) {
        throw new Exception('fake core: include_file of type ' . $_type);
    }
    $path = __DIR__ . '/../../' . ($_plugin === '' ? '' : 'plugins/' . $_plugin . '/') . $_folder . $kinds[$_type][0] . '/' . $_fn . $kinds[$_type][1];
    if (!file_exists($path)) {
        throw new Exception(__('Fichier introuvable :', __FILE__) . ' ' . secureXSS($path), 35486);
    }
    require_once $path;
}

function getTemplate($_folder, $_version, $_filename, $_plugin = '')
{
    $path = __DIR__ . '/../../' . ($_plugin === '' ? $_folder : 'plugins/' . $_plugin . '/core') . '/template/' . $_version . '/' . $_filename . '.html';
    return file_exists($path) ? file_get_contents($path) : '';
}

function template_replace($_array, $_subject)
{
    return str_replace(array_keys($_array), array_values($_array), $_subject);
}

function sendVarToJS($_varName, $_value = '')
{
    foreach (is_array($_varName) ? $_varName : [$_varName => $_value] as $name => $value) {
        echo '<script>var ' . $name . ' = ' . json_encode($value) . '</script>';
    }
}

function init($_name, $_default = '')
{
    return $_GET[$_name] ?? $_POST[$_name] ?? $_REQUEST[$_name] ?? $_default;
}

function isConnect($_right = '')
{
    if (!isset($_SESSION['user']) || !is_object($_SESSION['user'])) {
        return false;
    }
    return $_right === '' || $_SESSION['user']->getProfils() == $_right;
}

function is_json($_string, $_default = null)
{
    $value = is_string($_string) ? json_decode($_string, true, 512, JSON_BIGINT_AS_STRING) : null;
    if ($_default === null) {
        return is_array($value);
    }
    return is_array($value) ? $value : $_default;
}

function secureXSS($_string)
{
    return $_string === null ? null : str_replace('&amp;', '&', htmlspecialchars($_string, ENT_QUOTES | ENT_HTML5, 'UTF-8'));
}

function cleanComponanteName($_name)
{
    $clean = strip_tags(str_replace(['&', '#', ']', '[', '%', '\\', '/', "'", '"', '*'], '', $_name));
    return preg_replace('/\s+/', ' ', $clean);
}

/** An object as one of another class, with the same properties: the core does it with what it reads from the database. */
function cast($sourceObject, $destination)
{
    $text = serialize($sourceObject);
    return unserialize('O:' . strlen($destination) . ':"' . $destination . '":' . substr($text, $text[2] + 7));
}

function rrmdir($dir)
{
    if (is_dir($dir) && !is_link($dir)) {
        foreach (array_diff(scandir($dir), ['.', '..']) as $file) {
            rrmdir($dir . '/' . $file);
        }
        rmdir($dir);
    } elseif (file_exists($dir) || is_link($dir)) {
        unlink($dir);
    }
    return true;
}

function getClientIp()
{
    foreach (['HTTP_CF_CONNECTING_IP', 'HTTP_X_REAL_IP', 'HTTP_X_FORWARDED_FOR', 'HTTP_CLIENT_IP', 'REMOTE_ADDR'] as $source) {
        if (isset($_SERVER[$source])) {
            return str_replace(' ', '', explode(',', $_SERVER[$source])[0]);
        }
    }
    return '';
}

function getmicrotime()
{
    return microtime(true);
}
