<?php

class ajax
{
    public static function init($_allowGetAction = [])
    {
        if (!headers_sent()) {
            header('Content-Type: application/json');
        }
        if (isset($_GET['action']) && !in_array($_GET['action'], $_allowGetAction)) {
            throw new Exception(__('Méthode non autorisée en GET : ', __FILE__) . $_GET['action']);
        }
    }

    public static function success($_data = '')
    {
        echo self::getResponse($_data);
        die();
    }

    public static function error($_data = '', $_errorCode = 0)
    {
        echo self::getResponse($_data, $_errorCode);
        die();
    }

    public static function getResponse($_data = '', $_errorCode = null)
    {
        $response = ['state' => $_errorCode === null ? 'ok' : 'error', 'result' => $_data];
        if ($_errorCode !== null) {
            $response['code'] = $_errorCode;
        }
        return json_encode($response, JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE);
    }
}
